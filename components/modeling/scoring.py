"""What a masked language model answers at frozen masks."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from components.masking.frozen_masks import FrozenMasks
from components.modeling.architectures.records import can_be_trimmed
from components.modeling.library.adapter import as_masked_lm
from foundation.errors import ModelError
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    from transformers import TFPreTrainedModel

LogitsAt = Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor]
"""From `input_ids` and `attention_mask` (batch, sequence) int32 and positions (batch, predictions) int32 to logits
(batch, predictions, vocabulary) float32."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """A model's answers, in the order of the masks.

    Attributes:
        log_probabilities: (tokens,) float32, natural logarithm of the probability given to the true token.
        top_ids: (tokens, k) int32, the most probable tokens, the most probable first.
        top_log_probabilities: (tokens,) float32, natural logarithm of the probability given to the first of these.
    """

    log_probabilities: np.ndarray
    top_ids: np.ndarray
    top_log_probabilities: np.ndarray


def score_masks(
    model: "TFPreTrainedModel",
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    masks: FrozenMasks,
    *,
    batch_size: int,
    k: int,
) -> Scores:
    """Asks the model for every masked token. The head runs at the masked positions only.

    Args:
        model: Any of transformers' TensorFlow masked language models.
        input_ids: (blocks, block_size) int32, the true tokens.
        attention_mask: (blocks, block_size), 1 for tokens and 0 for padding.
        masks: At least one, `block` being the row in `input_ids`.
        batch_size: Blocks scored at once; doesn't change the answers beyond rounding.
        k: How many of the most probable tokens are kept.

    Raises:
        ModelError: If the blocks hold ids beyond the model's vocabulary.
    """
    return score_with(
        as_masked_lm(model).logits_at,
        model.config.vocab_size,
        input_ids,
        attention_mask,
        masks,
        batch_size=batch_size,
        k=k,
        by_length=can_be_trimmed(model.config),
    )


def score_with(
    logits_at: LogitsAt,
    vocabulary_size: int,
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    masks: FrozenMasks,
    *,
    batch_size: int,
    k: int,
    by_length: bool = False,
) -> Scores:
    """Asks whatever gives logits at positions.

    Args:
        logits_at: Gives logits at positions.
        vocabulary_size: All ids are below it.
        input_ids: (blocks, block_size) int32, the true tokens.
        attention_mask: (blocks, block_size), 1 for tokens and 0 for padding.
        masks: At least one, `block` being the row in `input_ids`.
        batch_size: Blocks scored at once; doesn't change the answers beyond rounding.
        k: How many of the most probable tokens are kept.
        by_length: Whether blocks of like lengths are scored together, without the padding that they share.

    Raises:
        ModelError: If the blocks hold ids beyond the model's vocabulary.
    """
    batches = MaskedBatches(input_ids, attention_mask, masks, batch_size, by_length=by_length)
    scorer = Scorer(logits_at, vocabulary_size, batches, k)
    with TERMINAL.progress("asking the model", len(input_ids), "blocks") as progress:
        numbers = progress.watch(range(batches.count), lambda number: batches.blocks_of(number))
        return batches.joined(scorer.scores(range(number, number + 1)) for number in numbers)


class MaskedBatches:
    """Masked blocks in batches, the last of which is filled up with the last block.

    Each block gets as many slots for predictions as the block of its batch with the most masks needs. Where padding
    doesn't count, blocks of like lengths are together, the longest first, so that memory that suffices for the first
    batch suffices for all; otherwise batches have one shape.

    Args:
        input_ids: (blocks, block_size) int32, the true tokens.
        attention_mask: (blocks, block_size), 1 for tokens and 0 for padding, which is at the end.
        masks: At least one, `block` being the row in `input_ids`.
        batch_size: Blocks a batch.
        by_length: Whether the model gives the same for a block without its padding, so that batches may be cut.

    Attributes:
        count: How many batches there are.
        slots: The most masks of a block.
        shapes: The shapes of the ids and of the positions, (batch, block_size) and (batch, slots), with None for what
            differs between batches.
        largest_id: The largest token id in them.
    """

    def __init__(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
        masks: FrozenMasks,
        batch_size: int,
        *,
        by_length: bool = False,
    ) -> None:
        blocks, block_size = input_ids.shape
        counts = np.bincount(masks.block, minlength=blocks)  # (blocks,)
        self.slots = int(counts.max())
        slot = np.arange(len(masks)) - (np.cumsum(counts) - counts)[masks.block]  # (tokens,)
        lengths = np.count_nonzero(attention_mask, axis=1)  # (blocks,)
        self._cut = by_length and bool((lengths < block_size).any())
        # Equal lengths keep their order, so that all processes have the same batches.
        order = np.argsort(-lengths, kind="stable") if self._cut else np.arange(blocks)
        row = np.argsort(order, kind="stable")[masks.block]  # (tokens,)
        self._at = row, slot
        self._lengths, self._counts = lengths[order], counts[order]
        self._positions = np.zeros((blocks, self.slots), np.int32)
        self._positions[self._at] = masks.position
        self._labels = np.zeros((blocks, self.slots), np.int32)
        self._labels[self._at] = masks.label
        self._masked = masks.apply(input_ids)[order]  # (blocks, block_size)
        self._attention_mask = attention_mask[order]
        self._batch_size = min(batch_size, blocks)
        self.count = -(-blocks // self._batch_size)
        of_ids, of_positions = (None, None) if self._cut else (block_size, self.slots)
        self.shapes = (self._batch_size, of_ids), (self._batch_size, of_positions)
        self.largest_id = int(max(self._masked.max(), masks.label.max()))

    def blocks_of(self, number: int) -> int:
        """How many blocks a batch has, without those that fill it up."""
        return min(self._batch_size, len(self._masked) - number * self._batch_size)

    def inputs(self, number: int) -> tuple[np.ndarray, ...]:
        """The ids and the attention mask (batch, length) of a batch, positions and labels (batch, slots); int32."""
        rows = number * self._batch_size + np.arange(self._batch_size)
        rows = np.minimum(rows, len(self._masked) - 1)  # (batch,)
        length = slots = None
        if self._cut:
            # A block of nothing but padding has a place, too, and a slot whose answer nobody reads.
            length, slots = max(1, int(self._lengths[rows].max())), max(1, int(self._counts[rows].max()))
        columns = (
            (self._masked, length),
            (self._attention_mask, length),
            (self._positions, slots),
            (self._labels, slots),
        )
        return tuple(column[rows, :width].astype(np.int32) for column, width in columns)

    def joined(self, parts: Iterable[tuple[np.ndarray, ...]]) -> Scores:
        """The answers to all masks.

        Args:
            parts: What `Scorer.scores` returned for all batches, in their order.
        """
        log_probabilities, top_ids, top_log_probabilities = (
            np.concatenate(column)[: len(self._masked)][self._at] for column in zip(*parts, strict=True)
        )
        return Scores(log_probabilities, top_ids, top_log_probabilities)


class Scorer:
    """Asks whatever gives logits at positions, batch by batch.

    Args:
        logits_at: Gives logits at positions.
        vocabulary_size: All ids are below it.
        batches: What is asked.
        k: How many of the most probable tokens are kept.

    Raises:
        ModelError: If the blocks hold ids beyond the model's vocabulary.
    """

    def __init__(self, logits_at: LogitsAt, vocabulary_size: int, batches: MaskedBatches, k: int) -> None:
        if batches.largest_id >= vocabulary_size:
            raise ModelError(
                "the tokenizer's ids must be within the model's vocabulary",
                received=f"token id {batches.largest_id} for a model of {vocabulary_size} tokens",
                remedy="use the tokenizer that the model was trained with (--tokenizer.pretrained)",
            )
        of_ids, of_positions = (tf.TensorSpec(shape, tf.int32) for shape in batches.shapes)

        # AutoGraph stays on for those that need it, see `LibraryMaskedLM`: Longformer branches on a sequence's length.
        @tf.function(input_signature=[of_ids, of_ids, of_positions, of_positions])
        def answer(ids: tf.Tensor, attention: tf.Tensor, at: tf.Tensor, true: tf.Tensor) -> tuple[tf.Tensor, ...]:
            inputs = {"input_ids": ids, "attention_mask": attention}
            logits = logits_at(inputs, at)  # (batch, slots, vocabulary)
            # log softmax at the true token alone, without writing the whole distribution to memory
            true_logits = tf.gather(logits, true, axis=2, batch_dims=2)  # (batch, slots)
            log_normalizer = tf.reduce_logsumexp(logits, axis=2)  # (batch, slots)
            top = tf.math.top_k(logits, k)  # (batch, slots, k)
            return true_logits - log_normalizer, top.indices, top.values[:, :, 0] - log_normalizer

        self._batches = batches
        self._answer = answer

    def scores(self, numbers: range) -> tuple[np.ndarray, ...]:
        """Log-probabilities (blocks, slots), top ids (blocks, slots, k) and theirs (blocks, slots) of some batches."""
        answers = [self._answer(*map(tf.constant, self._batches.inputs(number))) for number in numbers]
        return tuple(
            np.concatenate([filled_up(part.numpy(), self._batches.slots) for part in column])
            for column in zip(*answers, strict=True)
        )


def filled_up(answers: np.ndarray, slots: int) -> np.ndarray:
    """The answers (batch, some, ...) of a batch with zeros for the slots that it doesn't have, (batch, slots, ...)."""
    missing = [(0, 0)] * answers.ndim
    missing[1] = (0, slots - answers.shape[1])
    return np.pad(answers, missing)
