"""Which segment each element of a flat tensor belongs to, in memory linear in the elements.

`tf.repeat`, and with it the ragged tensors' own functions, makes a matrix of segments by the longest segment: one word
of 100,000 letters beside 100,000 words of one letter would take gigabytes.
"""

import tensorflow as tf


def segment_ids(splits: tf.Tensor) -> tf.Tensor:
    """The segment of every element.

    Args:
        splits: (segments + 1,) int64, from 0 to the number of elements, not falling.

    Returns:
        (elements,) int64.
    """
    inner = splits[1:-1]
    steps = tf.scatter_nd(inner[:, None], tf.ones_like(inner), tf.reshape(splits[-1] + 1, [1]))
    return tf.cumsum(steps)[:-1]


def repeat(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Repeats each value.

    Args:
        values: (segments, …).
        lengths: (segments,) int64, how often.

    Returns:
        (elements, …).
    """
    splits = tf.concat([[0], tf.cumsum(lengths)], 0)
    return tf.gather(values, segment_ids(splits))


def splits_of(ids: tf.Tensor, segments: tf.Tensor) -> tf.Tensor:
    """Where segments begin and the last one ends.

    Args:
        ids: (elements,) int64, the segment of every element, not falling.
        segments: () int64, how many there are, those without elements included.

    Returns:
        (segments + 1,) int64.
    """
    lengths = tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, segments)
    return tf.concat([[0], tf.cumsum(lengths)], 0)


def fill_in(
    whole: tf.Tensor, repeats: tf.Tensor, positions: tf.Tensor, ids: tf.Tensor, word_of: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Joins the tokens of words that were looked up whole with those of words that were cut.

    Args:
        whole: (words,) int64, the token of each word, or -1 for a word that was cut.
        repeats: (words,) int64, how often such a token stands there.
        positions: (cut,) int64, the cut words' places among all words.
        ids: (tokens,) int64, theirs, in order.
        word_of: (tokens,) int64, which of the cut words each stands in.

    Returns:
        Token ids of all words (all,) int32, and the tokens of each word (words,) int64.
    """
    lengths = tf.tensor_scatter_nd_update(
        repeats,
        positions[:, None],
        tf.math.unsorted_segment_sum(tf.ones_like(word_of), word_of, tf.size(positions, tf.int64)),
    )
    # Every word is repeated as often as it has tokens, and the cut words' ids fill their places in order.
    repeated = repeat(whole, lengths)
    tokens = tf.tensor_scatter_nd_update(repeated, tf.where(repeated < 0), ids)
    return tf.cast(tokens, tf.int32), lengths
