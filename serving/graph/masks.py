"""The masks of a batch: finds them, runs a function on a few at a time, and arranges the results by text."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Scores of 64 masks over 50,000 tokens take 13 MB. One text with hundreds of masks must not take a server's memory.
MASKS_A_TURN = 64
CELLS_A_TURN = 1 << 18
"""The most tokens that are decoded in a turn, over all masks and candidates: each takes about 100 bytes for a while."""


def mask_positions(ids: tf.Tensor, attention_mask: tf.Tensor, mask_token_id: int) -> tf.Tensor:
    """Row and position of every mask, in reading order.

    Args:
        ids: (batch, sequence) int32.
        attention_mask: (batch, sequence) int32, 0 at padding.
        mask_token_id: The mask's id.

    Returns:
        (masks, 2) int64.
    """
    return tf.where((ids == mask_token_id) & (attention_mask != 0))


def in_turns(
    masks: tf.Tensor,
    turn: Callable[[tf.Tensor], tuple[tf.Tensor, ...]],
    dtypes: tuple[tf.DType, ...],
    cells: tf.Tensor | int = 1,
) -> tuple[tf.Tensor, ...]:
    """Runs a function over masks, some at a time, and joins what it returns.

    Those are at most `MASKS_A_TURN`, and fewer where they would need more than `CELLS_A_TURN` cells.

    Args:
        masks: () int64, how many there are.
        turn: From mask numbers (some,) int64 to tensors (some, candidates).
        dtypes: Of what `turn` returns.
        cells: () int64, how many tokens `turn` decodes for a mask.

    Returns:
        Tensors (masks, candidates).
    """
    size = tf.clip_by_value(CELLS_A_TURN // tf.maximum(tf.cast(cells, tf.int64), 1), 1, MASKS_A_TURN)
    # One turn even for no mask, so that there is something to join.
    turns = tf.maximum((masks + size - 1) // size, 1)

    def array(dtype: tf.DType) -> tf.TensorArray:
        # Strings are on the CPU: a GPU can't hold them.
        with tf.device("/CPU:0" if dtype == tf.string else None):
            return tf.TensorArray(dtype, size=tf.cast(turns, tf.int32), infer_shape=False, element_shape=[None, None])

    arrays = tuple(array(dtype) for dtype in dtypes)

    def body(index: tf.Tensor, arrays: tuple[tf.TensorArray, ...]) -> tuple[tf.Tensor, tuple[tf.TensorArray, ...]]:
        numbers = tf.range(index * size, tf.minimum((index + 1) * size, masks))
        results = turn(numbers)
        place = tf.cast(index, tf.int32)
        return index + 1, tuple(array.write(place, result) for array, result in zip(arrays, results, strict=True))

    _, arrays = tf.while_loop(
        lambda index, _: index < turns, body, (tf.constant(0, tf.int64), arrays), parallel_iterations=1
    )
    return tuple(array.concat() for array in arrays)


def by_row(values: tf.Tensor, rows: tf.Tensor, batch: tf.Tensor, padding: Any) -> tf.Tensor:
    """Arranges what belongs to masks by the texts that they stand in.

    Args:
        values: (masks, candidates), in reading order.
        rows: (masks,) int64, the row of each.
        batch: () int64, the number of rows.
        padding: Fills the rows with fewer masks.

    Returns:
        (batch, masks, candidates), `masks` being the largest number in a row and at least 1.
    """
    ragged = tf.RaggedTensor.from_value_rowids(values, rows, nrows=batch, validate=False)
    most = tf.reduce_max(tf.concat([ragged.row_lengths(), [1]], 0))
    candidates = tf.shape(values, tf.int64)[1]
    column = tf.range(tf.shape(values, tf.int64)[0]) - tf.gather(ragged.row_starts(), rows)
    filled = tf.fill(tf.stack([batch, most, candidates]), tf.constant(padding, values.dtype))
    return tf.tensor_scatter_nd_update(filled, tf.stack([rows, column], 1), values)
