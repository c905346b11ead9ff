"""What an exported model that is asked with token ids is made of: see `serving.graph.signatures`."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from serving.graph import checks
from serving.graph.batching import InGraphBatching, RowBatcher, fit
from serving.graph.language_model import LanguageModel, Model
from serving.graph.masks import by_row, in_turns, mask_positions

NO_TOKEN = -1
"""The `token` and `position` of a place that stands for nothing; its score is 0 and its strings are empty."""

_TOKEN_INPUTS = [
    tf.TensorSpec([None, None], tf.int32, "input_ids"),
    tf.TensorSpec([None, None], tf.int32, "attention_mask"),
]
_LANGUAGE_INPUT = tf.TensorSpec([None], tf.int32, "language_ids")


class TokenSignatures(tf.Module):
    """A masked language model that is asked with token ids.

    Args:
        model: The masked language model, which offers what `serving.graph.language_model.Model` says.
        mask_token_id: The mask's id.
        top_k: Candidates a mask.
        max_sequence_length: The most tokens of a text, special tokens included.
        batching: How the requests of many clients are batched in the graph; None for each by itself, as it also is
            where padding changes what the model gives.

    Example:
        module = TokenSignatures(model, tokenizer.mask_token_id, top_k=5, max_sequence_length=512)
        encoded = tokenizer(["Paris is in <mask>."], return_tensors="tf")
        best = module.tokens(encoded["input_ids"], encoded["attention_mask"])["token"][0, 0]
        module.save(Path("fill_mask/1"))
    """

    def __init__(
        self,
        model: Model,
        mask_token_id: int,
        *,
        top_k: int,
        max_sequence_length: int,
        batching: InGraphBatching | None = None,
    ) -> None:
        super().__init__()
        self.max_sequence_length = max_sequence_length
        self.language_model = LanguageModel(model)
        # In a batch, rows are padded to one length.
        self.batching = batching if self.language_model.is_padded_freely else None
        self.weights = self.language_model.weights
        self.mask_token_id = mask_token_id
        self.top_k = min(top_k, self.language_model.vocabulary_size)

    @tf.function(input_signature=_TOKEN_INPUTS, autograph=False)
    def tokens(self, input_ids: tf.Tensor, attention_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best candidates at every mask.

        Args:
            input_ids: (batch, sequence) int32, with the special tokens around each text.
            attention_mask: (batch, sequence) int32, 1 at tokens and 0 at padding.

        Returns:
            position: (batch, masks) int32.
            token: (batch, masks, top_k) int32, best first.
            score: (batch, masks, top_k) float32, the tokens' probabilities.

            `masks` is the largest number in a row, at least 1. What a row lacks is filled with position and token -1
            and score 0.
        """
        return self._tokens(*self._checked(input_ids, attention_mask))

    @tf.function(input_signature=[*_TOKEN_INPUTS, _LANGUAGE_INPUT], autograph=False)
    def tokens_in_language(
        self, input_ids: tf.Tensor, attention_mask: tf.Tensor, language_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The best candidates at every mask, in languages that the request chooses.

        Args:
            input_ids: (batch, sequence) int32.
            attention_mask: (batch, sequence) int32.
            language_ids: (batch,) int32, numbers from 0 in the model's list of languages. One alone is every row's.

        Returns:
            What `tokens` returns.

        Raises:
            InvalidArgumentError: If a number is none of a language, or there are neither as many as rows, nor one.
        """
        ids, attention_mask = self._checked(input_ids, attention_mask)
        language_ids = checks.for_each_text(language_ids, "language_ids", tf.shape(ids)[0])
        last = len(self.language_model.languages) - 1
        is_known = checks.require(
            tf.reduce_all((language_ids >= 0) & (language_ids <= last)),
            [f"language_ids must be from 0 to {last}, the model's languages in the order of its config.json"],
        )
        return self._tokens(ids, attention_mask, checks.checked(language_ids, is_known))

    def _tokens(
        self, ids: tf.Tensor, attention_mask: tf.Tensor, language_ids: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """What `tokens` returns, of ids and mask that were checked."""
        rows, length = tf.unstack(tf.shape(ids))
        places = mask_positions(ids, attention_mask, self.mask_token_id)
        # Rows without a mask need no model.
        num_masks = tf.math.bincount(tf.cast(places[:, 0], tf.int32), minlength=rows, maxlength=rows)
        asked = tf.where(num_masks > 0)[:, 0]

        masked = [tf.gather(ids, asked), tf.gather(attention_mask, asked), tf.fill([tf.size(asked)], length)]
        language = None if language_ids is None else tf.gather(language_ids, asked)
        score, token = self._best_together(masked, tf.gather(num_masks, asked), language)
        rows = tf.cast(rows, tf.int64)
        position = by_row(tf.cast(places[:, 1:], tf.int32), places[:, 0], rows, NO_TOKEN)
        return {
            "position": position[:, :, 0],
            "score": by_row(score, places[:, 0], rows, 0.0),
            "token": by_row(token, places[:, 0], rows, NO_TOKEN),
        }

    @tf.function(input_signature=_TOKEN_INPUTS, autograph=False)
    def logits(self, input_ids: tf.Tensor, attention_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """The scores of the whole vocabulary at every position: large answers, meant for gRPC.

        Args:
            input_ids: (batch, sequence) int32.
            attention_mask: (batch, sequence) int32.

        Returns:
            `logits` (batch, sequence, vocabulary) float32, not normalized.
        """
        ids, attention_mask = self._checked(input_ids, attention_mask)
        rows, length = tf.unstack(tf.shape(ids))
        if self.batching is None:
            return {"logits": self.language_model.logits(ids, attention_mask)}
        width = self.language_model.hidden_size
        inner = tf.stack([length, width])
        (hidden,) = RowBatcher("logits", self.batching)(
            self._hidden_rows,
            [
                self._widened(ids, self.language_model.pad_token_id),
                self._widened(attention_mask, 0),
                tf.fill([rows], length),
            ],
            lambda hidden: (hidden[:, :length],),
            lambda hidden: (fit(hidden, inner, 0.0),),
            [tf.zeros(tf.stack([0, length, width]))],
            lambda hidden: (hidden,),
        )
        # The vocabulary's scores are too large for rows to share them: each request has its own.
        scores = self.language_model.scores(tf.reshape(hidden, [-1, width]))
        return {"logits": tf.reshape(scores, tf.stack([rows, length, self.language_model.vocabulary_size]))}

    def _best_together(
        self, rows: list[tf.Tensor], num_masks: tf.Tensor, language_ids: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best candidates of every mask, asked together with other requests where the graph batches them.

        Args:
            rows: Ids and attention mask, (rows, sequence) int32 each, and how many of a row's ids are its own (rows,).
            num_masks: (rows,) int32, at least 1 each.
            language_ids: (rows,) int32; None for the language that the model is used for.

        Returns:
            Scores (masks, top_k) float32 and tokens (masks, top_k) int32, in reading order.
        """
        ids, attention_mask, lengths = rows
        if self.batching is None:
            return self._best(ids, attention_mask, lengths, language_ids=language_ids)
        name, language = ("tokens", []) if language_ids is None else ("tokens_in_language", [language_ids])

        def keep(score: tf.Tensor, token: tf.Tensor, num_masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            is_mask = tf.sequence_mask(num_masks, tf.shape(score)[1])
            return tf.boolean_mask(score, is_mask), tf.boolean_mask(token, is_mask)

        score, token = RowBatcher(name, self.batching)(
            self._best_rows,
            [
                self._widened(ids, self.language_model.pad_token_id),
                self._widened(attention_mask, 0),
                lengths,
                num_masks,
                *language,
            ],
            keep,
            keep,
            [tf.zeros([0, self.top_k]), tf.zeros([0, self.top_k], tf.int32)],
            lambda score, token: (score, token),
        )
        return score, token

    def _best_rows(
        self,
        ids: tf.Tensor,
        attention_mask: tf.Tensor,
        lengths: tf.Tensor,
        num_masks: tf.Tensor,
        language_ids: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Scores and tokens of the best candidates, both (rows, masks, top_k), and the masks of each row (rows,)."""
        score, token = self._best(ids, attention_mask, lengths, language_ids=language_ids)
        row_of = mask_positions(ids, attention_mask, self.mask_token_id)[:, 0]
        rows = tf.shape(ids, tf.int64)[0]
        return by_row(score, row_of, rows, 0.0), by_row(token, row_of, rows, NO_TOKEN), num_masks

    def _best(
        self,
        ids: tf.Tensor,
        attention_mask: tf.Tensor,
        lengths: tf.Tensor,
        top_k: tf.Tensor | None = None,
        allowed: tf.Tensor | None = None,
        language_ids: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best candidates of every mask.

        Args:
            ids: (rows, sequence) int32.
            attention_mask: (rows, sequence) int32.
            lengths: (rows,) int32, how many of a row's ids are its own; those after them are padding.
            top_k: (rows,) int32, candidates a mask; None for `top_k` everywhere.
            allowed: (rows, vocabulary) bool, which tokens may be candidates; None for all.
            language_ids: (rows,) int32; None for the language that the model is used for.

        Returns:
            Scores (masks, candidates) float32 and tokens (masks, candidates) int32, in reading order. What isn't
            allowed has a score below 0.
        """
        places = mask_positions(ids, attention_mask, self.mask_token_id)
        hidden = self.language_model.hidden_states(ids, attention_mask, lengths, places, language_ids)
        most = self.top_k if top_k is None else tf.reduce_max(tf.concat([top_k, [1]], 0))

        def turn(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            scores = self.language_model.probabilities(tf.gather(hidden, numbers))
            if allowed is not None:
                scores = tf.where(tf.gather(allowed, tf.gather(places[:, 0], numbers)), scores, -1.0)
            best = tf.math.top_k(scores, most)
            return best.values, best.indices

        score, token = in_turns(tf.shape(places, tf.int64)[0], turn, (tf.float32, tf.int32))
        return score, token

    def _hidden_rows(self, ids: tf.Tensor, attention_mask: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor]:
        """What the head is given at every position of the rows of a batch: (rows, sequence, hidden)."""
        is_own = tf.sequence_mask(lengths, tf.maximum(tf.reduce_max(lengths), 1))
        places = tf.where(is_own)
        hidden = self.language_model.hidden_states(ids, attention_mask, lengths, places)
        shape = tf.concat([tf.shape(is_own, tf.int64), [self.language_model.hidden_size]], 0)
        return (tf.scatter_nd(places, hidden, shape),)

    def _widened(self, rows: tf.Tensor, padding: int) -> tf.Tensor:
        """Rows (rows, sequence) padded to as many tokens as the model takes: in a batch they have one shape."""
        missing = tf.maximum(self.max_sequence_length - tf.shape(rows)[1], 0)
        widened = tf.pad(rows, [[0, 0], [0, missing]], constant_values=padding)
        return tf.ensure_shape(widened, [None, self.max_sequence_length])

    def _checked(self, input_ids: tf.Tensor, attention_mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Ids and mask (batch, sequence), or an error if the model can't take them."""
        return checks.token_rows(
            input_ids, attention_mask, self.max_sequence_length, self.language_model.vocabulary_size
        )

    def signatures(self) -> dict[str, Any]:
        """The functions to save, by signature."""
        return {"serving_default": self.tokens, **self.token_signatures()}

    def token_signatures(self) -> dict[str, Any]:
        """Those of token ids; the one with languages where the model has parts for some."""
        in_language = {"tokens_in_language": self.tokens_in_language} if self.language_model.languages else {}
        return {"tokens": self.tokens, "logits": self.logits, **in_language}

    def save(self, directory: Path) -> dict[str, Any]:
        """Writes a SavedModel into a directory. Returns the concrete functions that it answers with, by signature."""
        signatures = {name: function.get_concrete_function() for name, function in self.signatures().items()}
        # Beside them what they use, and not this module: TensorFlow would trace each of its functions once more.
        used = tf.Module()
        used.weights, used.tables = self.weights, self.tables()
        tf.saved_model.save(used, str(directory), signatures=signatures)
        return signatures

    def tables(self) -> list[tf.Module]:
        """What holds the tables that the signatures use."""
        return []
