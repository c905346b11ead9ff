"""The masked language model behind the signatures: hidden states once, then the vocabulary's scores where asked."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import tensorflow as tf

from serving.graph.by_length import run_by_length

LONGEST_SHORTEST = 16
"""How many tokens at most a model may need to give anything at all."""
IDS = tf.TensorSpec([None, None], tf.int32)
LANGUAGE_IDS = tf.TensorSpec([None], tf.int32)
LARGEST_DIFFERENCE = 1e-4
"""The largest difference between two hidden states that are the same, relative to the largest number in them."""


class Model(Protocol):
    """What a masked language model must offer.

    What gathers rows of a variable that is also read whole makes a server copy the variable for every request.
    """

    config: Any
    languages: tuple[str, ...]

    @property
    def weights(self) -> list[tf.Variable]:
        """Every variable."""

    def hidden(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What the head is given, (batch, sequence, hidden), of `input_ids` and `attention_mask`.

        Those are (batch, sequence) int32. Of a model with `languages`, `language_ids` (batch,) int32 may choose each
        row's.
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
        languages: Those of which a row may choose one, by its number.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        exact = getattr(model, "exact", None)
        self._exact = None if exact is None else LanguageModel(exact)
        self.vocabulary_size = int(model.config.vocab_size)
        self.pad_token_id = int(getattr(model.config, "pad_token_id", None) or 0)

        def hidden(ids: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
            return tf.cast(model.hidden({"input_ids": ids, "attention_mask": attention_mask}), tf.float32)

        def hidden_at(ids: tf.Tensor, attention_mask: tf.Tensor, position_ids: tf.Tensor) -> tf.Tensor:
            inputs = {"input_ids": ids, "attention_mask": attention_mask, "position_ids": position_ids}
            return tf.cast(model.hidden(inputs), tf.float32)

        def hidden_in(ids: tf.Tensor, attention_mask: tf.Tensor, language_ids: tf.Tensor) -> tf.Tensor:
            inputs = {"input_ids": ids, "attention_mask": attention_mask, "language_ids": language_ids}
            return tf.cast(model.hidden(inputs), tf.float32)

        self.languages = tuple(model.languages)
        self._hidden = traced(hidden)
        self._hidden_at = traced(hidden_at, IDS, IDS, IDS)
        self._hidden_in: Any = traced(hidden_in, IDS, IDS, LANGUAGE_IDS) if self.languages else None

    @property
    def weights(self) -> list[tf.Variable]:
        """Every variable of the model."""
        return list(self._model.weights)

    @functools.cached_property
    def is_padded_freely(self) -> bool:
        """Whether padding at the end of a sequence leaves what the model gives before it as it is.

        Not so where it convolves over neighbors or pools them, as ConvBERT, Funnel and MobileBERT do.
        """
        if self._exact is not None:
            return self._exact.is_padded_freely  # rounding differs by what a sequence is computed with
        length = 4
        with tf.init_scope():
            ids = tf.range(2 * length, dtype=tf.int32)[None] % self.vocabulary_size
            mask = tf.sequence_mask([length], 2 * length, tf.int32)
            padded = self._hidden(tf.where(mask > 0, ids, self.pad_token_id), mask)[:, :length]
            alone = self._hidden(ids[:, :length], mask[:, :length])
            difference = tf.reduce_max(tf.abs(padded - alone)) / tf.reduce_max(tf.abs(alone))
            return bool(difference < LARGEST_DIFFERENCE)

    def hidden(self, ids: tf.Tensor, attention_mask: tf.Tensor, position_ids: tf.Tensor | None = None) -> tf.Tensor:
        """What the head would be given at every position of rows of one length.

        Args:
            ids: (batch, sequence) int32.
            attention_mask: (batch, sequence) int32, 1 at tokens and 0 at padding.
            position_ids: (batch, sequence) int32, for a model that takes them; None for its own.

        Returns:
            (batch, sequence, hidden) float32.
        """
        if position_ids is None:
            return self._of_any_size(self._hidden, ids, attention_mask)
        return self._hidden_at(ids, attention_mask, position_ids)

    def hidden_states(
        self,
        ids: tf.Tensor,
        attention_mask: tf.Tensor,
        lengths: tf.Tensor,
        places: tf.Tensor,
        language_ids: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """What the language-model head would be given at some places.

        Args:
            ids: (batch, sequence) int32.
            attention_mask: (batch, sequence) int32, 1 at tokens and 0 at padding.
            lengths: (batch,) int32, how many of a row's ids are its own; those after them are padding.
            places: (places, 2) int64, rows and positions in reading order.
            language_ids: (batch,) int32, numbers in `languages`; None for the language that the model is used for.

        Returns:
            (places, hidden) float32.
        """
        others = () if language_ids is None else (language_ids,)
        hidden = self._hidden if language_ids is None else self._hidden_in

        def forward(*rows: tf.Tensor) -> tf.Tensor:
            return self._of_any_size(hidden, *rows)

        is_exact = not self.is_padded_freely
        return run_by_length(forward, ids, attention_mask, lengths, places, is_exact=is_exact, others=others)

    def logits(self, ids: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
        """The scores of every token at every position, not normalized: (batch, sequence, vocabulary) float32."""
        return self._of_any_size(self._all_logits, ids, attention_mask)

    @functools.cached_property
    def _all_logits(self) -> Any:
        def logits(ids: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
            return self._model.logits({"input_ids": ids, "attention_mask": attention_mask})

        return traced(logits)

    def _of_any_size(
        self, function: Callable[..., tf.Tensor], ids: tf.Tensor, attention_mask: tf.Tensor, *others: tf.Tensor
    ) -> tf.Tensor:
        """What a function gives, also where there are fewer rows or tokens than it can do without.

        Those are added as padding, and what is given for them is cut off: ConvBERT fails without a row, Funnel with
        two tokens.
        """
        size = tf.shape(ids)
        missing = [[0, amount] for amount in tf.unstack(tf.maximum([1, self.shortest] - size, 0))]
        ids = tf.pad(ids, missing, constant_values=self.pad_token_id)
        others = tuple(tf.pad(each, missing[:1]) for each in others)
        return function(ids, tf.pad(attention_mask, missing), *others)[: size[0], : size[1]]

    @functools.cached_property
    def shortest(self) -> int:
        """The fewest tokens of a sequence that the model gives anything for."""
        with tf.init_scope():
            for length in range(1, LONGEST_SHORTEST):
                try:
                    self._hidden(tf.ones([1, length], tf.int32), tf.ones([1, length], tf.int32))
                except tf.errors.InvalidArgumentError:
                    continue
                return length
        return LONGEST_SHORTEST

    def probabilities(self, hidden: tf.Tensor) -> tf.Tensor:
        """The distribution over the vocabulary where the hidden states are (positions, hidden).

        Returns:
            (positions, vocabulary) float32.
        """
        return tf.nn.softmax(self.scores(hidden))

    def scores(self, hidden: tf.Tensor) -> tf.Tensor:
        """What the head makes of hidden states (positions, hidden): (positions, vocabulary) float32, not normalized."""
        return tf.cast(self._model.head(hidden[None])[0], tf.float32)

    @functools.cached_property
    def hidden_size(self) -> int:
        """The width of what the head is given."""
        with tf.init_scope():
            ids = tf.ones([1, self.shortest], tf.int32)
            return int(self._hidden(ids, ids).shape[-1])


def traced(function: Callable[..., tf.Tensor], *specs: tf.TensorSpec) -> Any:
    """A `tf.function` of ids and attention mask, (batch, sequence) int32 each, or of what the specs say."""
    return tf.function(function, input_signature=specs or (IDS, IDS))
