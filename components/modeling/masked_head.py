"""The language-model head at masked positions only.

A masked LM learns from the masked positions alone, about 15% of all, yet the library's classes multiply every
position's hidden state with the whole vocabulary: nearly half of all floating-point work in a small model. Here
the layer that turns hidden states into logits sees only the positions asked for. `get_lm_head` names that layer
in each of the library's masked-LM classes, so one mechanism serves them all. Loss and gradients are those of the
dense path, because no other position has a part in either.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from components.masking.masking import IGNORED_LABEL
from components.modeling.library.embedding_read import embedding_read_once

if TYPE_CHECKING:
    from transformers import TFPreTrainedModel


def masked_logits(
    model: "TFPreTrainedModel", inputs: Mapping[str, tf.Tensor], positions: tf.Tensor, training: bool = False
) -> tf.Tensor:
    """The model's logits at given positions, without computing those at others.

    The model stays what it was: calling it afterwards gives the logits of every position again.

    Args:
        model: Any of transformers' TensorFlow masked language models.
        inputs: What the model takes, such as `input_ids` and `attention_mask` (batch, sequence).
        positions: (batch, predictions) int32, from 0 to the sequence's length, exclusive. May repeat.
        training: Whether dropout is on.

    Returns:
        (batch, predictions, vocabulary) float32.
    """
    with embedding_read_once(model), head_at(model.get_lm_head(), positions):
        outputs = model(dict(inputs), training=training)
    return tf.cast(outputs.logits, tf.float32)


@contextlib.contextmanager
def head_at(head: tf.keras.layers.Layer, positions: tf.Tensor) -> Iterator[None]:
    """Makes a layer gather its input (batch, sequence, hidden) at positions (batch, predictions) before its work.

    For the duration of one call or trace, on this instance only, in one thread.
    """
    dense_call = head.call

    def call_at_positions(hidden_states: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        gathered = tf.gather(hidden_states, positions, batch_dims=1)  # (batch, predictions, hidden)
        return dense_call(gathered, *args, **kwargs)

    head.call = call_at_positions
    try:
        yield
    finally:
        # The method of the class shows again.
        del head.call


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
