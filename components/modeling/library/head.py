"""The language-model head at chosen positions only, or not at all.

A masked LM learns from the masked positions alone, about 15% of all, yet the library's classes multiply every
position's hidden state with the whole vocabulary: nearly half of all floating-point work in a small model. Here
the layer that turns hidden states into logits sees only the positions asked for. `get_lm_head` names that layer
in each of the library's masked-LM classes, so one mechanism serves them all. Loss and gradients are those of the
dense path, because no other position has a part in either.

The embedding of tokens is read once a call. A variable that is looked up by rows is copied whole by every other read,
such as the head's: TensorFlow can't tell whether rows will be written meanwhile. Here a model's lookup and its head
take the tensor of one read, which copies nothing.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

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


@contextlib.contextmanager
def without_head(head: tf.keras.layers.Layer) -> Iterator[None]:
    """Makes a layer give back its input, for the duration of one call or trace, on this instance only."""

    def call(hidden_states: tf.Tensor, *_: Any, **__: Any) -> tf.Tensor:
        return hidden_states

    head.call = call
    try:
        yield
    finally:
        # The method of the class shows again.
        del head.call


@contextlib.contextmanager
def embedding_read_once(model: Any) -> Iterator[None]:
    """Makes a model use one read of its embedding of tokens.

    For the duration of one call or trace, on this model's instances only, in one thread.

    Args:
        model: Any of transformers' TensorFlow masked language models.
    """
    layer = model.get_input_embeddings()
    read = {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, tf.Variable) and value.shape.rank == 2 and value.shape[0] == model.config.vocab_size
    }
    # Under mixed precision the layers cast a variable each time they read it.
    if layer.compute_dtype != layer.variable_dtype:
        read = {}
    vars(layer).update({name: tf.convert_to_tensor(variable) for name, variable in read.items()})
    try:
        yield
    finally:
        vars(layer).update(read)
