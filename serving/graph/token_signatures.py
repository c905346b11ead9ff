"""What an exported model that is asked with token ids is made of: see `serving.graph.signatures`."""

from typing import Any

import tensorflow as tf

from serving.graph.language_model import LanguageModel, Model
from serving.graph.masks import by_row, in_turns, mask_positions

NO_TOKEN = -1
"""The `token` and `position` of a place that stands for nothing; its score is 0 and its strings are empty."""

_TOKEN_INPUTS = [
    tf.TensorSpec([None, None], tf.int32, "input_ids"),
    tf.TensorSpec([None, None], tf.int32, "attention_mask"),
]


class TokenSignatures(tf.Module):
    """A masked language model that is asked with token ids.

    Args:
        model: The masked language model, which offers what `serving.graph.language_model.Model` says.
        mask_token_id: The mask's id.
        top_k: Candidates a mask.
        max_sequence_length: The most tokens of a text, special tokens included.

    Example:
        module = TokenSignatures(model, tokenizer.mask_token_id, top_k=5, max_sequence_length=512)
        encoded = tokenizer(["Paris is in <mask>."], return_tensors="tf")
        best = module.tokens(encoded["input_ids"], encoded["attention_mask"])["token"][0, 0]
        tf.saved_model.save(module, "fill_mask/1", signatures=module.signatures())
    """

    def __init__(
        self,
        model: Model,
        mask_token_id: int,
        *,
        top_k: int,
        max_sequence_length: int,
    ) -> None:
        super().__init__()
        self.max_sequence_length = max_sequence_length
        self.language_model = LanguageModel(model)
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
        input_ids = self._limited(input_ids)
        attention_mask = tf.broadcast_to(attention_mask, tf.shape(input_ids))
        rows, length = tf.unstack(tf.shape(input_ids))
        places = mask_positions(input_ids, attention_mask, self.mask_token_id)

        score, token = self._candidates(input_ids, attention_mask, tf.fill([rows], length), places)
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
            `logits` (batch, sequence, vocabulary) float32, not normalised.
        """
        return {"logits": self.language_model.logits(self._limited(input_ids), attention_mask)}

    def _candidates(
        self, ids: tf.Tensor, attention_mask: tf.Tensor, lengths: tf.Tensor, places: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores (places, top_k) float32 and tokens (places, top_k) int32 of the best candidates."""
        hidden = self.language_model.hidden_states(ids, attention_mask, lengths, places)

        def turn(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            best = tf.math.top_k(self.language_model.probabilities(tf.gather(hidden, numbers)), self.top_k)
            return best.values, best.indices

        score, token = in_turns(tf.shape(places, tf.int64)[0], turn, (tf.float32, tf.int32))
        return score, token

    def _limited(self, input_ids: tf.Tensor) -> tf.Tensor:
        """The ids, or an error if they are too many: beyond the table of positions a GPU would silently read zeros."""
        fits = tf.debugging.assert_less_equal(
            tf.shape(input_ids)[1],
            self.max_sequence_length,
            f"A sequence has at most {self.max_sequence_length} tokens",
        )
        with tf.control_dependencies([fits]):
            return tf.identity(input_ids)

    def signatures(self) -> dict[str, Any]:
        """The functions to save, by signature."""
        return {"serving_default": self.tokens, "tokens": self.tokens, "logits": self.logits}
