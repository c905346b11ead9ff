"""Attention of every token to those that it sees (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)."""

import math
from collections.abc import Callable

import tensorflow as tf

NEVER = -1e4
"""Added to the scores of tokens that don't see each other: a probability of 0 in float32, where any other is seen."""
Dropout = Callable[[tf.Tensor], tf.Tensor]


def mask_from(document_ids: tf.Tensor, *, apart: bool) -> tf.Tensor:
    """What is added to the scores.

    Args:
        document_ids: (batch, sequence) int32, 0 for padding, which no token sees.
        apart: Whether a token sees those of its own document only.

    Returns:
        (batch, 1, 1, sequence) or (batch, 1, sequence, sequence) float32.
    """
    # TensorFlow Lite has no built-in slice that adds a dimension, but one that expands.
    seen = tf.expand_dims(tf.expand_dims(document_ids > 0, 1), 1)
    if apart:
        seen &= document_ids[:, None, :, None] == document_ids[:, None, None, :]
    return tf.where(seen, 0.0, NEVER)


def causal_mask_from(document_ids: tf.Tensor, *, apart: bool) -> tf.Tensor:
    """What is added to the scores where a token sees itself and those before it.

    Args:
        document_ids: (batch, sequence) int32. Padding is a document, too: at the end, no token of another sees it.
        apart: Whether a token sees those of its own document only.

    Returns:
        (1, 1, sequence, sequence) or (batch, 1, sequence, sequence) float32.
    """
    places = tf.range(tf.shape(document_ids)[1])
    seen = (places[:, None] >= places[None, :])[None, None]
    if apart:
        seen &= document_ids[:, None, :, None] == document_ids[:, None, None, :]
    return tf.where(seen, 0.0, NEVER)


def attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: tf.Tensor,
    *,
    relations: tf.Tensor | None = None,
    dropout: Dropout | None = None,
) -> tf.Tensor:
    """Attention to all tokens that a mask lets a token see.

    Args:
        query: (batch, heads, sequence, size), or with more dimensions before the last two.
        key: The same; the sequence may be another one.
        value: As the key.
        mask: What is added to the scores, as of `mask_from`.
        relations: (sequence, sequence, size), added to the keys and values that a token sees (Shaw et al. 2018,
            https://arxiv.org/abs/1803.02155); None for none.
        dropout: Drops weights.

    Returns:
        (batch, heads, sequence, size) in the dtype of the values; the weights are computed in float32.
    """
    query *= tf.cast(1 / math.sqrt(query.shape[-1]), query.dtype)  # scaled where it costs least
    scores = tf.matmul(query, key, transpose_b=True)  # (batch, heads, sequence, sequence)
    if relations is not None:
        scores += tf.einsum("bhqd,qkd->bhqk", query, relations)
    weights = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32) + mask), value.dtype)
    if dropout is not None:
        weights = dropout(weights)
    context = tf.matmul(weights, value)
    return context if relations is None else context + tf.einsum("bhqk,qkd->bhqd", weights, relations)
