"""The masked language model behind the signatures: hidden states once, then the vocabulary's scores where asked."""

from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow as tf


class Model(Protocol):
    """What a masked language model must offer.

    What gathers rows of a variable that is also read whole makes a server copy the variable for every request.
    """

    config: Any

    @property
    def weights(self) -> list[tf.Variable]:
        """Every variable."""

    def hidden(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What the head is given, (batch, sequence, hidden), of `input_ids` and `attention_mask`.

        Those are (batch, sequence) int32.
        """

    def head(self, hidden: tf.Tensor) -> tf.Tensor:
        """The scores of hidden states: (batch, positions, hidden) to (batch, positions, vocabulary)."""

    def logits(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The scores at every position, (batch, sequence, vocabulary) float32."""


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

        def logits(ids: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
            return model.logits({"input_ids": ids, "attention_mask": attention_mask})

        def hidden(ids: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
            return tf.cast(model.hidden({"input_ids": ids, "attention_mask": attention_mask}), tf.float32)

        # Longformer and Funnel branch on the sequence's length, which AutoGraph must turn into graph ops.
        specs = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], tf.int32)]
        self._logits = tf.function(logits, input_signature=specs)
        self._hidden = tf.function(hidden, input_signature=specs)

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
        return self._hidden(ids, attention_mask)

    def logits(self, ids: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
        """The scores of every token at every position, not normalised: (batch, sequence, vocabulary) float32."""
        return self._logits(ids, attention_mask)

    def probabilities(self, hidden: tf.Tensor) -> tf.Tensor:
        """The distribution over the vocabulary where the hidden states are (positions, hidden).

        Returns:
            (positions, vocabulary) float32.
        """
        logits = self._model.head(hidden[None])[0]
        return tf.nn.softmax(tf.cast(logits, tf.float32))
