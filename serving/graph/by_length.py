"""Runs a model on rows of unlike lengths, those of like lengths together, so that little of its work is on padding."""

from collections.abc import Callable, Sequence

import tensorflow as tf

SMALL = 16
"""Up to so many tokens rows are alike whatever their lengths."""
TOKENS_AT_ONCE = 1 << 14
"""The most tokens, padding included, that go through the model at once."""

Forward = Callable[..., tf.Tensor]


def run_by_length(
    forward: Forward,
    ids: tf.Tensor,
    attention_mask: tf.Tensor,
    lengths: tf.Tensor,
    places: tf.Tensor,
    *,
    is_exact: bool,
    others: Sequence[tf.Tensor] = (),
) -> tf.Tensor:
    """What a model gives at some places.

    Args:
        forward: From ids and attention mask, (some, length) int32 each, and the same rows of `others`, to
            (some, length, width) float32.
        ids: (rows, sequence) int32.
        attention_mask: (rows, sequence) int32.
        lengths: (rows,) int32, how many of a row's ids are its own; those after them are padding.
        places: (places, 2) int64, rows and positions in reading order.
        is_exact: Whether only rows of equal lengths may go together, because padding changes what the model gives;
            otherwise a row is padded to less than twice its length, or to `SMALL`.
        others: What else the model takes of each row, (rows,) each.

    Returns:
        (places, width) float32.
    """
    # The longest first, so that those alike are neighbors.
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    ids, attention_mask, lengths, *others = (
        tf.gather(tensor, order) for tensor in (ids, attention_mask, lengths, *others)
    )
    wanted = tf.scatter_nd(places, tf.ones_like(places[:, 0], tf.bool), tf.shape(ids, tf.int64))
    wanted = tf.gather(wanted, order)
    rows = tf.size(lengths)
    width = None
    array = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False)

    def body(start: tf.Tensor, array: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        nonlocal width
        rest = lengths[start:]
        longest = tf.maximum(tf.reduce_max(tf.concat([rest[:1], [1]], 0)), 1)
        if is_exact:
            alike = tf.reduce_sum(tf.cast(rest == longest, tf.int32))
        else:
            shortest = tf.where(longest <= SMALL, 0, longest // 2 + 1)
            alike = tf.reduce_sum(tf.cast(rest >= shortest, tf.int32))
        end = start + tf.clip_by_value(alike, 1, tf.maximum(TOKENS_AT_ONCE // longest, 1))
        more = (tensor[start:end] for tensor in others)
        values = forward(ids[start:end, :longest], attention_mask[start:end, :longest], *more)
        width = values.shape[-1]
        values = tf.boolean_mask(values, wanted[start:end, :longest])
        return end, array.write(array.size(), values)

    # One turn even for no row, so that there is something to join.
    _, array = tf.while_loop(
        lambda start, array: (start < rows) | (array.size() == 0),
        body,
        (tf.constant(0), array),
        parallel_iterations=1,
    )
    row_of = tf.gather(order, tf.where(wanted)[:, 0])
    return tf.ensure_shape(tf.gather(array.concat(), tf.argsort(row_of, stable=True)), [None, width])
