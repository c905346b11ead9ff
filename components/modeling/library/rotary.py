"""RoFormer's rotary positions: quick, and fixed."""

from typing import TypeVar

import tensorflow as tf
from transformers.models.roformer.modeling_tf_roformer import (
    TFRoFormerSelfAttention,
    TFRoFormerSinusoidalPositionalEmbedding,
)

Model = TypeVar("Model", bound=tf.keras.Model)


def with_fixed_rotary(model: Model) -> Model:
    """Makes a model's attention use `rotated`, and keeps training away from the angles.

    The library's strided slices take a quarter of its forward pass on a CPU. Its table of sines and cosines is a
    weight like any other, which training and weight decay would change until it is no rotation, and of positions
    beyond a block in another way than within; in PyTorch it is fixed. Other architectures stay as they are.
    """
    for layer in model.submodules:
        if isinstance(layer, TFRoFormerSelfAttention):
            layer.apply_rotary_position_embeddings = rotated
        elif isinstance(layer, TFRoFormerSinusoidalPositionalEmbedding):
            layer.trainable = False
    return model


def rotated(sinusoidal_positions: tf.Tensor, *vectors: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Turns each pair of neighboring elements by its position's angle, to the library's values.

    Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding" (https://arxiv.org/abs/2104.09864),
    equation 34.

    Args:
        sinusoidal_positions: (1, 1, sequence, head_size): the sines of the pairs' angles, then their cosines.
        vectors: (batch, heads, sequence, head_size) each: queries, keys, and values where those turn too.

    Returns:
        The vectors, same shapes and dtypes.
    """
    sines, cosines = tf.split(sinusoidal_positions, 2, axis=-1)  # (1, 1, sequence, head_size / 2) each
    both = tf.repeat(cosines, 2, axis=-1)
    crossed = tf.reshape(tf.stack([-sines, sines], axis=-1), tf.shape(both))
    return tuple(vector * both + swapped(vector) * crossed for vector in vectors)


def swapped(vectors: tf.Tensor) -> tf.Tensor:
    """Each pair of neighbors of the last axis in the other order."""
    shape = tf.shape(vectors)
    pairs = tf.reshape(vectors, tf.concat([shape[:-1], [-1, 2]], axis=0))
    return tf.ensure_shape(tf.reshape(tf.reverse(pairs, [-1]), shape), vectors.shape)
