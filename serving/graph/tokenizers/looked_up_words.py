"""Joins the tokens of words that were looked up with those of words that were cut."""

import tensorflow as tf

from serving.graph.tokenizers.segments import repeat


def fill_in(
    whole: tf.Tensor, repeats: tf.Tensor, positions: tf.Tensor, ids: tf.Tensor, word_of: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts the tokens of cut words in their places.

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
