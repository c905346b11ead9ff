"""Norms of states in one pass over memory each way, of which the gradient keeps the input alone.

Ba et al. 2016, "Layer Normalization" (https://arxiv.org/abs/1607.06450); without the mean, Zhang and Sennrich 2019,
"Root Mean Square Layer Normalization" (https://arxiv.org/abs/1910.07467).
"""

from typing import Any

import tensorflow as tf


def fused_norm(
    inputs: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor | None, epsilon: float, *, centered: bool
) -> tf.Tensor:
    """A norm as `Norm` computes it, compiled.

    Args:
        inputs: (..., size), floating point.
        weight: (size,) float32, the scale.
        bias: (size,) float32, the offset; None for none.
        epsilon: Added to the variance.
        centered: Whether the mean is subtracted.

    Returns:
        Same shape and dtype as the inputs.
    """
    size = inputs.shape[-1]
    small, offset = tf.constant(epsilon), tf.zeros_like(weight) if bias is None else bias

    @tf.custom_gradient
    def norm(rows: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return (_centered_gradient if centered else _plain_gradient)(rows, weight, small, upstream)

        return (_centered if centered else _plain)(rows, weight, bias, small), gradient

    return tf.reshape(norm(tf.reshape(inputs, (-1, size)), weight, offset), tf.shape(inputs))


def _normed(rows: tf.Tensor, epsilon: tf.Tensor, centered: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """The rows at one scale, and what they were multiplied by: (rows, size) and (rows, 1) float32."""
    wide = tf.cast(rows, tf.float32)
    if centered:
        wide -= tf.reduce_mean(wide, axis=-1, keepdims=True)
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(wide), axis=-1, keepdims=True) + epsilon)
    return wide * inverse, inverse


@tf.function(jit_compile=True, autograph=False)
def _centered(rows: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    return tf.cast(_normed(rows, epsilon, True)[0] * weight + bias, rows.dtype)


@tf.function(jit_compile=True, autograph=False)
def _plain(rows: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    return tf.cast(_normed(rows, epsilon, False)[0] * weight + bias, rows.dtype)


@tf.function(jit_compile=True, autograph=False)
def _centered_gradient(
    rows: tf.Tensor, weight: tf.Tensor, epsilon: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    return _gradient(rows, weight, epsilon, upstream, centered=True)


@tf.function(jit_compile=True, autograph=False)
def _plain_gradient(
    rows: tf.Tensor, weight: tf.Tensor, epsilon: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    return _gradient(rows, weight, epsilon, upstream, centered=False)


def _gradient(
    rows: tf.Tensor, weight: tf.Tensor, epsilon: tf.Tensor, upstream: tf.Tensor, *, centered: bool
) -> tuple[tf.Tensor, ...]:
    """The gradients of the rows, the scale and the offset."""
    normed, inverse = _normed(rows, epsilon, centered)
    wide = tf.cast(upstream, tf.float32)
    scaled = wide * weight
    along = scaled - normed * tf.reduce_mean(scaled * normed, axis=-1, keepdims=True)
    if centered:
        along -= tf.reduce_mean(scaled, axis=-1, keepdims=True)
    return tf.cast(inverse * along, rows.dtype), tf.reduce_sum(wide * normed, axis=0), tf.reduce_sum(wide, axis=0)
