"""Rotary positions: queries and keys turn by angles that grow with their place.

Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding" (https://arxiv.org/abs/2104.09864). A
pair is an element of the first half of what turns and one of the second, as in GPT-NeoX and PyTorch's classes.
"""

import tensorflow as tf

from components.modeling.architectures.design import Rotation

Angles = tuple[tf.Tensor, tf.Tensor]
"""Cosines and sines, (sequence, size / 2) float32 each."""


def angles_of(rotation: Rotation, length: tf.Tensor | int) -> Angles:
    """The cosines and sines of all places.

    Args:
        rotation: How they turn.
        length: Tokens of a sequence.
    """
    frequencies = rotation.theta ** (-tf.range(0, rotation.size, 2, tf.float32) / rotation.size)  # (size / 2,)
    places = tf.range(length, dtype=tf.float32) / rotation.factor
    angles = places[:, None] * frequencies
    return tf.cos(angles), tf.sin(angles)


def turned(vectors: tf.Tensor, angles: Angles) -> tf.Tensor:
    """Queries or keys, turned by their places; elements beyond what turns stay as they are.

    Args:
        vectors: (batch, heads, sequence, head size).
        angles: As of `angles_of`.

    Returns:
        Same shape and dtype.
    """
    cosines, sines = (tf.cast(part, vectors.dtype) for part in angles)
    half = cosines.shape[-1]
    first, second, rest = tf.split(vectors, [half, half, vectors.shape[-1] - 2 * half], axis=-1)
    both = [first * cosines - second * sines, second * cosines + first * sines]
    return tf.concat([*both, rest] if rest.shape[-1] else both, axis=-1)
