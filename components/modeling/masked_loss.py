"""The loss of a masked language model: where a batch's labels are, and the cross-entropy of what is predicted there."""

from typing import Any

import tensorflow as tf

from components.masking.masking import IGNORED_LABEL


def label_positions(labels: tf.Tensor, predictions: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Where a batch's labels are, in a fixed number of slots a row, so that shapes are known before the data.

    Args:
        labels: (batch, sequence) integers, `IGNORED_LABEL` where nothing is asked.
        predictions: Slots a row. A row with fewer labels fills up with positions whose label is ignored; of a row
            with more, the last ones are left out.

    Returns:
        positions (batch, predictions) int32 and their labels (batch, predictions) int32.
    """
    asked = tf.cast(labels != IGNORED_LABEL, tf.int32)  # (batch, sequence)
    # Equal values keep their order in top_k, so a row's labels come first, from left to right.
    positions = tf.math.top_k(asked, k=predictions).indices  # (batch, predictions)
    return positions, tf.cast(tf.gather(labels, positions, batch_dims=1), tf.int32)


def masked_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The summed cross-entropy of the labels that count, and how many they are.

    The mean is `total / max(count, 1)`: a batch without labels has loss 0 and gradient 0, where a plain mean
    would be NaN.

    Args:
        logits: (batch, predictions, vocabulary) float32.
        labels: (batch, predictions) int32, `IGNORED_LABEL` where nothing is asked.

    Returns:
        total () float32, in nats, and count () float32.
    """
    counted = tf.cast(labels != IGNORED_LABEL, tf.float32)  # (batch, predictions)
    return tf.reduce_sum(cross_entropy(logits, tf.maximum(labels, 0)) * counted), tf.reduce_sum(counted)


@tf.custom_gradient
def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> Any:
    """The cross-entropy of each label, as `tf.nn.sparse_softmax_cross_entropy_with_logits`, in a quarter of its time.

    XLA makes one pass for the largest logits, one for the sums, and one for the gradient, which recomputes the
    exponentials: a vocabulary of logits is read faster than it is written.

    Args:
        logits: (batch, predictions, vocabulary) float32.
        labels: (batch, predictions) int32, from 0 to the vocabulary's size, exclusive.

    Returns:
        (batch, predictions) float32, in nats, and the gradient's function.
    """
    normalizers = _log_sum_exp(logits)  # (batch, predictions)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        return _logits_gradient(logits, labels, normalizers, upstream), None

    return normalizers - tf.gather(logits, labels, batch_dims=2), gradient


@tf.function(jit_compile=True, autograph=False)
def _log_sum_exp(logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_logsumexp(logits, axis=-1)


@tf.function(jit_compile=True, autograph=False)
def _logits_gradient(logits: tf.Tensor, labels: tf.Tensor, normalizers: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Of the loss by the logits: probability less 1 at the label, times upstream."""
    probabilities = tf.exp(logits - normalizers[..., tf.newaxis])  # (batch, predictions, vocabulary)
    is_label = tf.range(tf.shape(logits)[-1]) == labels[..., tf.newaxis]
    return (probabilities - tf.cast(is_label, tf.float32)) * upstream[..., tf.newaxis]
