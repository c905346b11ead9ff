"""Relative positions as a function of the distance."""

import math

import tensorflow as tf


def functional_relations(length: tf.Tensor | int, furthest: int, size: int, dtype: tf.DType) -> tf.Tensor:
    """Sines and cosines of the distance between two tokens (NEZHA, Wei et al. 2019, https://arxiv.org/abs/1909.00204).

    Args:
        length: Tokens of a sequence.
        furthest: Distances beyond it count as it.
        size: The width of a head, an even number.
        dtype: Of the result.

    Returns:
        (length, length, size), from the first token to the second.
    """
    places = tf.range(length)
    distances = tf.clip_by_value(places[None, :] - places[:, None], -furthest, furthest)
    frequencies = tf.exp(tf.range(0, size, 2, tf.float32) * (-math.log(10_000.0) / size))  # (size / 2,)
    angles = tf.expand_dims(tf.cast(distances + furthest, tf.float32), -1) * frequencies
    pairs = tf.stack([tf.sin(angles), tf.cos(angles)], axis=-1)  # (length, length, size / 2, 2)
    return tf.cast(tf.reshape(pairs, (length, length, size)), dtype)
