"""The orthogonal matrix that is about the nearest to a matrix, by products alone."""

import tensorflow as tf

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration's polynomial. By Jordan's choice the small singular values grow fast, and all end
between 0.7 and 1.2 instead of at 1, which trains as well."""


def orthogonal(matrix: tf.Tensor) -> tf.Tensor:
    """About the nearest matrix with orthonormal rows or columns: U V' where the singular value decomposition is U S V'.

    By `ITERATIONS` of Newton and Schulz, which need products alone; zeros stay zeros.

    Args:
        matrix: (rows, columns) float32.

    Returns:
        (rows, columns) float32, with singular values between 0.7 and 1.2 but for those that were nearly 0.
    """
    first, third, fifth = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    # The smaller side first: the products of a matrix and its transpose are then the smaller ones.
    left = tf.transpose(matrix) if is_tall else matrix
    left /= tf.norm(left) + 1e-12
    for _ in range(ITERATIONS):
        square = tf.matmul(left, left, transpose_b=True)  # (smaller side, smaller side)
        left = first * left + tf.matmul(third * square + fifth * tf.matmul(square, square), left)
    return tf.transpose(left) if is_tall else left
