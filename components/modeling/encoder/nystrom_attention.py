"""Attention by landmarks: its time and memory grow with the sequence's length, not with its square.

Xiong et al. 2021, "Nyströmformer: A Nyström-Based Algorithm for Approximating Self-Attention"
(https://arxiv.org/abs/2102.03902). The matrix of all tokens' weights is approximated by three smaller ones: of tokens
to landmarks, the inverse of landmarks to landmarks, and of landmarks to tokens.
"""

import tensorflow as tf

from components.modeling.architectures.landmarks import Landmarks

ITERATIONS = 6


class NystromAttention:
    """Attention to all tokens that are there, by landmarks.

    Padding isn't seen, but it is a part of the landmarks, as in PyTorch.

    Args:
        landmarks: How many there are, and of how many tokens.
    """

    def __init__(self, landmarks: Landmarks) -> None:
        self.landmarks = landmarks

    def __call__(self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """What the tokens are given.

        Args:
            query: (batch, heads, sequence, size), of the landmarks' length.
            key: The same.
            value: The same.
            mask: (batch, 1, 1, sequence) float32, added to the scores of tokens.

        Returns:
            (batch, heads, sequence, size) in the dtype of the values; weights and the inverse are computed in float32.
        """
        scale = tf.cast(query.shape[-1] ** -0.25, query.dtype)
        query, key = query * scale, key * scale
        queries, keys = self.means(query), self.means(key)  # (batch, heads, landmarks, size)
        to_landmarks = weights(query, keys)
        between = weights(queries, keys)
        to_tokens = weights(queries, key, mask)
        summed = tf.matmul(tf.cast(to_tokens, value.dtype), value)  # (batch, heads, landmarks, size)
        combined = tf.matmul(inverse(between), tf.cast(summed, tf.float32))
        return tf.matmul(tf.cast(to_landmarks, value.dtype), tf.cast(combined, value.dtype))

    def means(self, vectors: tf.Tensor) -> tf.Tensor:
        """The landmarks, (batch, heads, landmarks, size), of (batch, heads, sequence, size)."""
        batch, heads, _, size = tf.unstack(tf.shape(vectors))
        count, segment = self.landmarks.count, self.landmarks.segment
        heads, size = vectors.shape[1] or heads, vectors.shape[3] or size
        return tf.reduce_mean(tf.reshape(vectors, (batch, heads, count, segment, size)), axis=3)


def weights(query: tf.Tensor, key: tf.Tensor, mask: tf.Tensor | float = 0.0) -> tf.Tensor:
    """How much of each key a query takes, (batch, heads, queries, keys) float32."""
    return tf.nn.softmax(tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32) + mask)


def inverse(matrices: tf.Tensor) -> tf.Tensor:
    """The pseudoinverse of weights, (batch, heads, landmarks, landmarks) float32, by a few iterations.

    Razavi et al. 2014, "A new iterative method for finding approximate inverses of complex matrices"
    (https://doi.org/10.1155/2014/563787). The first guess is divided by the largest column sum of a text's heads.
    PyTorch takes the largest of the batch, so that what it answers for a text alone is what is answered here beside
    any other texts.
    """
    columns = tf.reduce_max(tf.reduce_sum(matrices, axis=-2), axis=(1, 2), keepdims=True)  # (batch, 1, 1)
    guess = tf.linalg.matrix_transpose(matrices) / tf.expand_dims(columns, -1)
    one = tf.eye(matrices.shape[-1])
    for _ in range(ITERATIONS):
        product = tf.matmul(matrices, guess)
        inner = 15.0 * one - tf.matmul(product, 7.0 * one - product)
        guess = tf.matmul(0.25 * guess, 13.0 * one - tf.matmul(product, inner))
    return guess
