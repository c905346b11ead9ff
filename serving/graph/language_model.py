"""The masked language model behind the signatures: hidden states once, then the vocabulary's scores where asked."""

import functools
from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow as tf

from serving.graph.by_length import run_by_length

LARGEST_DIFFERENCE = 1e-4
"""The largest difference between two hidden states that are the same, relative to the largest number in them."""


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
        pad_token_id: What its configuration pads sequences with; 0 where it doesn't say.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.vocabulary_size = int(model.config.vocab_size)
        self.pad_token_id = int(getattr(model.config, "pad_token_id", None) or 0)

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

    @functools.cached_property
    def is_padded_freely(self) -> bool:
        """Whether padding at the end of a sequence leaves what the model gives before it as it is.

        Not so where it convolves over neighbours or pools them, as ConvBERT, Funnel and MobileBERT do.
        """
        length = 4
        with tf.init_scope():
            ids = tf.range(2 * length, dtype=tf.int32)[None] % self.vocabulary_size
            mask = tf.sequence_mask([length], 2 * length, tf.int32)
            padded = self._hidden(tf.where(mask > 0, ids, self.pad_token_id), mask)[:, :length]
            alone = self._hidden(ids[:, :length], mask[:, :length])
            difference = tf.reduce_max(tf.abs(padded - alone)) / tf.reduce_max(tf.abs(alone))
            return bool(difference < LARGEST_DIFFERENCE)

    def hidden_states(
        self, ids: tf.Tensor, attention_mask: tf.Tensor, lengths: tf.Tensor, places: tf.Tensor
    ) -> tf.Tensor:
        """What the language-model head would be given at some places.

        Args:
            ids: (batch, sequence) int32.
            attention_mask: (batch, sequence) int32, 1 at tokens and 0 at padding.
            lengths: (batch,) int32, how many of a row's ids are its own; those after them are padding.
            places: (places, 2) int64, rows and positions in reading order.

        Returns:
            (places, hidden) float32.
        """
        return run_by_length(self._hidden, ids, attention_mask, lengths, places, is_exact=not self.is_padded_freely)

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
