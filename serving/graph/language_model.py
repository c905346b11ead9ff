"""The masked language model behind the signatures: hidden states once, then the vocabulary's scores where asked."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import tensorflow as tf


class Model(Protocol):
    """What a masked language model must offer. All of transformers' TensorFlow ones do."""

    config: Any

    @property
    def weights(self) -> list[tf.Variable]:
        """Every variable."""

    def get_lm_head(self) -> tf.keras.layers.Layer:
        """The layer that turns hidden states into logits."""

    def __call__(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> Any:
        """Its `logits`, (batch, sequence, vocabulary), of `input_ids` and `attention_mask`, (batch, sequence) int32.

        What gathers rows of a variable that is also read whole makes a server copy the variable for every request.
        """


class LanguageModel:
    """A masked language model with its head apart, so that the head runs at the masks only.

    It's no `tf.Module`, so that a SavedModel doesn't also hold Keras' own copy of every layer: a module whose functions
    call it must keep its `weights`.

    Args:
        model: The whole model.

    Attributes:
        vocabulary_size: How many token ids the model knows.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.vocabulary_size = int(model.config.vocab_size)

        def call(ids: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
            outputs = model({"input_ids": ids, "attention_mask": attention_mask}, training=False)
            return tf.cast(outputs.logits, tf.float32)

        # Longformer and Funnel branch on the sequence's length, which AutoGraph must turn into graph ops.
        specs = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], tf.int32)]
        self._logits = tf.function(call, input_signature=specs)
        self._hidden_states = tf.function(call, input_signature=specs)

    @property
    def weights(self) -> list[tf.Variable]:
        """Every variable of the model."""
        return list(self._model.weights)

    def hidden_states(self, ids: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
        """What the language-model head would be given.

        Args:
            ids: (batch, sequence) int32.
            attention_mask: (batch, sequence) int32, 1 at tokens and 0 at padding.

        Returns:
            (batch, sequence, hidden) float32.
        """
        with _passing_through(self._model.get_lm_head()):
            return self._hidden_states(ids, attention_mask)

    def logits(self, ids: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
        """The scores of every token at every position, not normalised: (batch, sequence, vocabulary) float32."""
        return self._logits(ids, attention_mask)

    def probabilities(self, hidden: tf.Tensor) -> tf.Tensor:
        """The distribution over the vocabulary where the hidden states are (positions, hidden).

        Returns:
            (positions, vocabulary) float32.
        """
        logits = self._model.get_lm_head()(hidden[None])[0]
        return tf.nn.softmax(tf.cast(logits, tf.float32))


@contextlib.contextmanager
def _passing_through(head: tf.keras.layers.Layer) -> Iterator[None]:
    """Makes a layer return its input, on this instance, for one trace."""

    def call(hidden: tf.Tensor, *_: Any, **__: Any) -> tf.Tensor:
        return hidden

    head.call = call
    try:
        yield
    finally:
        # The method of the class shows again.
        del head.call
