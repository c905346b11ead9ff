"""Attention whose weights are chances that a query and a key are hashed alike.

Zeng et al. 2021, "You Only Sample (Almost) Once: Linear Cost Self-Attention Via Bernoulli Sampling"
(https://arxiv.org/abs/2111.09714), in the form that takes the chances as they are, without sampling.
"""

import math
from collections.abc import Callable

import tensorflow as tf

SMALLEST_SQUARE = 1e-24
"""Of a vector's length, by which it is divided."""


class YosoAttention:
    """Attention by the chance of equal hashes: (1 - angle / pi) to the power of a hash's bits.

    Args:
        bits: Of a hash.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def __call__(self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, seen: tf.Tensor | None) -> tf.Tensor:
        """What the tokens are given, each a vector of length 1.

        Args:
            query: (batch, heads, sequence, size).
            key: The same.
            value: The same.
            seen: (batch, 1, sequence, sequence) booleans, whether a token sees another; None where it sees all.

        Returns:
            (batch, heads, sequence, size) in the dtype of the values; the chances are computed in float32.
        """
        summed = self.summed(of_length_one(query), of_length_one(key), value, seen)
        return of_length_one(summed)

    def summed(self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, seen: tf.Tensor | None) -> tf.Tensor:
        """The values by their weights, (batch, heads, sequence, size), of queries and keys of length 1.

        The gradient of queries and keys is the paper's, by a lower bound of the derivative that is finite where a
        query and a key are the same.
        """

        @tf.custom_gradient
        def sums(
            query: tf.Tensor, key: tf.Tensor, value: tf.Tensor
        ) -> tuple[tf.Tensor, Callable[..., tuple[tf.Tensor, ...]]]:
            cosines = tf.clip_by_value(tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32), -1.0, 1.0)
            chances = (1.0 - tf.acos(cosines) / math.pi) ** self.bits
            weights = tf.cast(chances if seen is None else tf.where(seen, chances, 0.0), value.dtype)

            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
                scaled = tf.matmul(upstream, value, transpose_b=True) * weights * (self.bits / 2)
                along_keys = tf.matmul(weights, upstream, transpose_a=True)
                return tf.matmul(scaled, key), tf.matmul(scaled, query, transpose_a=True), along_keys

            return tf.matmul(weights, value), gradient

        return sums(query, key, value)


def of_length_one(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors, (..., size), divided by their lengths in float32; the same dtype."""
    wide = tf.cast(vectors, tf.float32)
    return tf.cast(tf.math.l2_normalize(wide, axis=-1, epsilon=SMALLEST_SQUARE), vectors.dtype)
