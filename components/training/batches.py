"""The input of training: blocks in an order of our own, and masked batches of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.masking.masking import IGNORED_LABEL, MaskingCollator
from components.modeling.library.adapter import as_masked_lm
from components.training.lengths import grouped_by_length, lengths_of_batches
from components.training.members import ALONE, Members

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TFPreTrainedModel

BLOCKS_A_READ = 256
"""Blocks that are read at once: what the library does for a read hardly depends on their number."""


def in_training_order(
    blocks: int,
    epochs: int,
    blocks_an_epoch: int,
    seed: int,
    *,
    lengths: np.ndarray | None = None,
    blocks_a_step: int = 1,
) -> np.ndarray:
    """The order in which training sees the blocks, all epochs one after the other.

    Each epoch has an order of its own. (The order that `prepare_tf_dataset(shuffle=True)` draws is the same in every
    epoch once a seed is set, and so are the blocks that don't fill a batch, which would never be seen.)

    Args:
        blocks: How many there are.
        epochs: How many.
        blocks_an_epoch: Of each epoch's order, the blocks that fill its batches; the others are left out.
        seed: Equal seeds give equal orders.
        lengths: (blocks,) int32, tokens of each, where those of like lengths are to be in one step: then the same
            blocks of each epoch come in another order. None for any order.
        blocks_a_step: Blocks that a step learns from, which divide an epoch's.

    Returns:
        (epochs * blocks_an_epoch,) int32, the blocks' numbers.
    """
    random = np.random.default_rng(seed)
    order = np.empty((epochs, blocks_an_epoch), np.int32)
    for epoch in order:
        epoch[:] = random.permutation(blocks)[:blocks_an_epoch]
        if lengths is not None:
            # Chance of its own, so that the next epoch has the blocks that it has without groups.
            epoch[:] = grouped_by_length(epoch, lengths, blocks_a_step, random.spawn(1)[0])
    return order.reshape(-1)


class BlockReader:
    """Reads blocks by number from the memory-mapped file, each with one copy.

    (`datasets` makes a table of one row for every row asked for, which takes most of an input pipeline's time.)

    Args:
        blocks: Whose columns are lists of equal length.
    """

    def __init__(self, blocks: "Dataset") -> None:
        table = blocks.with_format("arrow")[:]
        self._columns = {
            name: [
                chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1)
                for chunk in table.column(name).chunks
                if len(chunk)
            ]
            for name in table.column_names
        }
        lengths = [len(chunk) for chunk in next(iter(self._columns.values()))]
        self._starts = np.cumsum([0, *lengths])[:-1]  # (chunks,)
        self.names = tuple(table.column_names)

    def read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The columns (blocks, block_size) of the blocks with these numbers (blocks,)."""
        chunk = np.searchsorted(self._starts, numbers, side="right") - 1
        places = list(zip(chunk.tolist(), (numbers - self._starts[chunk]).tolist(), strict=True))
        return {name: np.stack([chunks[chunk][row] for chunk, row in places]) for name, chunks in self._columns.items()}


def batches(
    model: "TFPreTrainedModel",
    blocks: "Dataset",
    batch_size: int,
    collator: MaskingCollator,
    order: np.ndarray | None = None,
    *,
    members: Members = ALONE,
    lengths: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Masked batches: inputs, and labels (batch, length), where the length is the block size, or less by `lengths`.

    Masks are drawn before a batch is cut to its length, so that they don't depend on it.

    Where blocks tell packed documents apart, `attention_mask` numbers them, as `keep_documents_apart` lets it, and
    there are `position_ids`, if the model has them, that begin anew with each.

    Args:
        model: Whose inputs the batches have.
        blocks: Memory-mapped; no copy is made.
        batch_size: Blocks a batch.
        collator: Masks them. The batches before its first one are left out.
        order: (blocks,) int32, the numbers of the blocks that training sees, in order; what doesn't fill a batch is
            left out. None for all blocks as they stand, the last batch being smaller.
        members: Those that share each batch, by the collator's share, or where there is no order in equal parts: then
            blocks without labels fill what is missing. A data set has the parts of one process, one for each replica.
        lengths: (blocks,) int32, tokens of each block: a batch is cut to one of a few lengths, the shortest that its
            longest block fits into, in all processes alike. None leaves every batch as long as its blocks.
    """
    reader = BlockReader(blocks)
    packed = "document_ids" in reader.names
    replicas = members.local_replicas

    def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        read = reader.read(np.array([row["input_ids"] for row in rows]))
        if packed:
            # The library drops columns whose names are none of the model's inputs.
            read["attention_mask"] = read.pop("document_ids")
            positions = as_masked_lm(model).position_ids(read["attention_mask"])
            read |= {} if positions is None else {"position_ids": positions}
        masked = collator.mask(read, max(1, len(rows) // own_size))
        own = members.padded_share(len(rows)) if order is None else None
        return masked if own is None else padded(masked, own)

    from datasets import Dataset

    own_size = batch_size
    if order is None:
        numbers = np.arange(len(blocks))[collator.first_batch * batch_size :]
        groups: Any = [numbers[start : start + batch_size] for start in range(0, len(numbers), batch_size)]
    else:
        places = order[: len(order) // batch_size * batch_size].reshape(-1, batch_size)  # (batches, batch)
        groups = places[collator.first_batch :]
        if collator.share is not None:
            places = places[:, collator.share.rows]
        own_size = places.shape[1]
        numbers = places[collator.first_batch :].reshape(-1)
    # The library reads numbers, under the name of an input, and `collate` the blocks that have them.
    numbered = Dataset.from_dict({"input_ids": numbers})
    together = 1 if order is None else max(1, BLOCKS_A_READ // own_size)
    given = {*reader.names, "attention_mask", "position_ids"} if packed else {*reader.names}
    inputs = [name for name in as_masked_lm(model).takes if name in given]
    dataset = numbered.to_tf_dataset(
        together * own_size,
        columns=inputs,
        label_cols="labels",
        shuffle=False,
        collate_fn=collate,
        drop_remainder=False,
        prefetch=False,
    )
    # The library tries a collator out to learn the shapes it gives.
    collator.restart()
    if order is not None or replicas > 1:

        def in_batches(tensor: tf.Tensor) -> tf.Tensor:
            # (batches, batch, block_size), a replica's part being a batch
            shape = [replicas, -1] if order is None else [-1, own_size // replicas]
            return tf.reshape(tensor, [*shape, *tensor.shape[1:]])

        dataset = dataset.map(lambda *read: tf.nest.map_structure(in_batches, read)).unbatch()
    if lengths is not None:
        longest = np.array([lengths[group].max() for group in groups], np.int32)
        cut_to = lengths_of_batches(longest, len(blocks[0]["input_ids"]))
        if order is None:
            cut_to = cut_to.repeat(replicas)
        dataset = tf.data.Dataset.zip((dataset, tf.data.Dataset.from_tensor_slices(cut_to))).map(cut)
    return without_autotune(dataset)


def cut(batch: Any, length: tf.Tensor) -> Any:
    """The first so many positions of all that a batch has, (batch, block_size) each."""
    return tf.nest.map_structure(lambda column: column[:, :length], batch)


def padded(masked: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Some rows of a masked batch. For numbers (rows,) that it doesn't have, there are rows without labels."""
    size = len(masked["labels"])
    part = {name: column[np.minimum(rows, size - 1)] for name, column in masked.items()}
    part["labels"][rows >= size] = IGNORED_LABEL
    return part


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset whose input pipeline isn't tuned while it runs.

    The tuner slows the steps on few cores, and the end of an iterator waits for its next round, which comes after
    10, 20, 40, 80 seconds.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(4).with_options(options)
