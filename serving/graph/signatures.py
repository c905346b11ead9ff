"""What the exported model answers to: raw text, or token ids.

| signature         | inputs                        | outputs                                                        |
|-------------------|-------------------------------|----------------------------------------------------------------|
| `serving_default` | `text`                        | `score`, `token`, `token_str`, `sequence`, `status`,           |
|                   |                               | `num_masks`, `num_tokens`                                      |
| `fill_mask`       | `text`, `top_k`, `targets`    | the same                                                       |
| `tokens`          | `input_ids`, `attention_mask` | `position`, `score`, `token`                                   |
| `logits`          | `input_ids`, `attention_mask` | `logits`                                                       |

All inputs and outputs have the batch as their first dimension, and the inputs of the text signatures have no other,
so that TensorFlow Serving may batch any requests together.
"""

from typing import Any

import tensorflow as tf

from foundation.text_answers import (
    INVALID_TOP_K,
    NO_MASK,
    NO_TARGET,
    OK,
    TOO_MANY_TOKENS,
    no_mask_within,
    truncated_to,
)
from serving.graph.language_model import Model
from serving.graph.masks import by_row, in_turns, mask_positions
from serving.graph.token_signatures import NO_TOKEN, TokenSignatures
from serving.graph.tokenizers.in_graph import UNCUT, InGraphTokenizer
from serving.graph.tokenizers.segments import repeat


class TextSignatures(TokenSignatures):
    """A masked language model that is asked with raw text, and with token ids too.

    Answers are those of transformers' fill-mask pipeline: `token_str` is the candidate decoded, `sequence` the text
    decoded with the candidate in the mask's place; other masks stay, and special tokens show only where a text has
    several masks.

    A text that can't be answered has its reason in `status`, `num_masks` 0, and a row of padding; the texts beside it
    are answered all the same. Unless the model truncates, a text with too many tokens is one of these.

    Args:
        model: The masked language model, which offers what `serving.graph.language_model.Model` says.
        tokenizer: Its tokenizer.
        top_k: Candidates a mask.
        max_top_k: The largest `top_k` that a request may ask.
        max_sequence_length: The most tokens of a text, special tokens included.
        truncation: Whether a longer text is cut to them, as the tokenizer's own `truncation=True` does, and answered
            with a `status` that says so.

    Example:
        in_graph = build_in_graph_tokenizer(tokenizer, model.config.vocab_size, 512)
        module = TextSignatures(model, in_graph, top_k=5, max_top_k=100, max_sequence_length=512)
        module.serving_default(tf.constant(["Paris is in <mask>."]))["token_str"][0, 0]
        tf.saved_model.save(module, "fill_mask/1", signatures=module.signatures())
    """

    def __init__(
        self,
        model: Model,
        tokenizer: InGraphTokenizer,
        *,
        top_k: int,
        max_top_k: int,
        max_sequence_length: int,
        truncation: bool = False,
    ) -> None:
        super().__init__(
            model,
            tokenizer.mask_token_id,
            top_k=top_k,
            max_sequence_length=max_sequence_length,
        )
        self.tokenizer = tokenizer
        self.truncation = truncation
        self.max_top_k = min(max_top_k, self.language_model.vocabulary_size)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")], autograph=False)
    def serving_default(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best candidates for every mask of every text.

        Args:
            text: (batch,) string with the tokenizer's mask token in it, once or more. Invalid UTF-8 is read as U+FFFD.

        Returns:
            score: (batch, masks, top_k) float32, probabilities, best first.
            token: (batch, masks, top_k) int32.
            token_str: (batch, masks, top_k) string.
            sequence: (batch, masks, top_k) string.
            status: (batch,) string, `ok`, `no_mask` or `too_many_tokens`; of a model that truncates also
                `truncated_to_512_tokens` for a text that is answered after it was cut, and `no_mask_within_512_tokens`
                for one that lost all its masks so.
            num_masks: (batch,) int32, how many of `masks` are this text's; the rest is padding.
            num_tokens: (batch,) int32, the text's tokens before any cut, special ones included.

            `masks` is the largest number in a text, at least 1. Padding is score 0, token -1 and empty strings.
        """
        return self._answer(text, tf.fill(tf.shape(text), self.top_k), None)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "text"),
            tf.TensorSpec([None], tf.int32, "top_k"),
            tf.TensorSpec([None], tf.string, "targets"),
        ],
        autograph=False,
    )
    def fill_mask(self, text: tf.Tensor, top_k: tf.Tensor, targets: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best candidates, how many and among which words the request says.

        Args:
            text: (batch,) string.
            top_k: (batch,) int32, candidates a mask for each text, from 1 to `max_top_k`. One alone is every text's.
            targets: (batch,) string, words to choose from, one a line; empty for the whole vocabulary. A word that is
                no token of the vocabulary counts as its first token, and one that has none is left out. Scores are
                those among the whole vocabulary. One alone is every text's.

        Returns:
            What `serving_default` returns, with the largest `top_k` of the batch as the last dimension. `status` may
            also be `invalid_top_k`, or `no_target` where no word has a token.

        Raises:
            InvalidArgumentError: If there are neither as many of `top_k` or `targets` as texts, nor one.
        """
        # A request can give the inputs any lengths, and rows that no text has would be read out of bounds.
        texts = tf.shape(text)
        return self._answer(text, tf.broadcast_to(top_k, texts), tf.broadcast_to(targets, texts))

    def signatures(self) -> dict[str, Any]:
        """The functions to save, by signature."""
        return {
            "serving_default": self.serving_default,
            "fill_mask": self.fill_mask,
            "tokens": self.tokens,
            "logits": self.logits,
        }

    def _answer(self, text: tf.Tensor, top_k: tf.Tensor, targets: tf.Tensor | None) -> dict[str, tf.Tensor]:
        encoded, num_tokens, status = self._encode(text)
        num_masks = self._count(encoded, self.mask_token_id)
        status = tf.where((top_k < 1) | (top_k > self.max_top_k), INVALID_TOP_K, status)
        allowed = None
        if targets is not None:
            allowed = self._allowed(targets)
            status = tf.where(self._is_answered(status) & ~tf.reduce_any(allowed, 1), NO_TARGET, status)
        answered = self._is_answered(status)
        num_masks = tf.where(answered, num_masks, 0)

        ids, lengths = self._dense(encoded, answered)
        attention_mask = tf.sequence_mask(lengths, tf.shape(ids)[1], tf.int32)
        places = mask_positions(ids, attention_mask, self.mask_token_id)  # (masks, 2)
        rows = places[:, 0]
        hidden = self.language_model.hidden_states(ids, attention_mask, lengths, places)
        candidates = tf.reduce_max(tf.concat([tf.where(answered, top_k, 1), [1]], 0))
        length = tf.shape(ids, tf.int64)[1]

        def turn(numbers: tf.Tensor) -> tuple[tf.Tensor, ...]:
            row = tf.gather(rows, numbers)
            scores = self.language_model.probabilities(tf.gather(hidden, numbers))
            if allowed is not None:
                scores = tf.where(tf.gather(allowed, row), scores, -1.0)
            best = tf.math.top_k(scores, candidates)  # (some, candidates)
            wanted = (tf.range(candidates) < tf.gather(top_k, row)[:, None]) & (best.values >= 0)
            # (some, candidates, sequence): the text's ids with the candidate in the mask's place.
            here = tf.range(length) == tf.gather(places[:, 1], numbers)[:, None]
            filled = tf.where(here[:, None, :], best.indices[:, :, None], tf.gather(ids, row)[:, None, :])
            # The pipeline leaves padding out of the sequence, a candidate that is padding too.
            kept = (filled != self.tokenizer.pad_token_id) & wanted[:, :, None]
            single = tf.repeat(tf.gather(num_masks, row) == 1, candidates)
            sequence = self.tokenizer.decode(
                tf.reshape(filled, [-1, length]), tf.reshape(kept, [-1, length]), skip_special_tokens=single
            )
            alone = tf.reshape(best.indices, [-1, 1])
            token_str = self.tokenizer.decode(
                alone, tf.reshape(wanted, [-1, 1]), skip_special_tokens=tf.zeros_like(single)
            )
            return (
                tf.where(wanted, best.values, 0.0),
                tf.where(wanted, best.indices, NO_TOKEN),
                tf.reshape(token_str, [-1, candidates]),
                tf.reshape(sequence, [-1, candidates]),
            )

        masks = tf.shape(places, tf.int64)[0]
        score, token, token_str, sequence = in_turns(masks, turn, (tf.float32, tf.int32, tf.string, tf.string))
        batch = tf.shape(text, tf.int64)[0]
        return {
            "score": by_row(score, rows, batch, 0.0),
            "token": by_row(token, rows, batch, NO_TOKEN),
            "token_str": by_row(token_str, rows, batch, ""),
            "sequence": by_row(sequence, rows, batch, ""),
            "status": status,
            "num_masks": num_masks,
            "num_tokens": num_tokens,
        }

    def _encode(self, text: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor, tf.Tensor]:
        """Token ids (batch, None) int32, how many there were before a cut (batch,) int32, and the status (batch,)."""
        longest = self.max_sequence_length
        ids = self.tokenizer.tokenize(text)
        num_tokens = tf.cast(ids.row_lengths(), tf.int32) + self.tokenizer.tokens_around
        is_too_long = num_tokens > longest
        has_mask = self._count(ids, self.mask_token_id) > 0
        if not self.truncation:
            status = tf.where(is_too_long, TOO_MANY_TOKENS, tf.where(has_mask, OK, NO_MASK))
            return self.tokenizer.enclose(ids), num_tokens, status
        encoded = self.tokenizer.enclose(self.tokenizer.truncate(ids, longest))
        status = tf.where(self._count(encoded, self.mask_token_id) > 0, truncated_to(longest), no_mask_within(longest))
        # What a part of a word that is too long to be cut starts with isn't known.
        status = tf.where(self._count(encoded, UNCUT) > 0, TOO_MANY_TOKENS, status)
        return encoded, num_tokens, tf.where(has_mask, tf.where(is_too_long, status, OK), NO_MASK)

    def _is_answered(self, status: tf.Tensor) -> tf.Tensor:
        """Which texts have an answer, (batch,) bool."""
        return (status == OK) | (status == truncated_to(self.max_sequence_length))

    @staticmethod
    def _count(encoded: tf.RaggedTensor, token_id: int) -> tf.Tensor:
        """How often each text (batch, None) int32 has a token: (batch,) int32."""
        return tf.reduce_sum(tf.cast(encoded == token_id, tf.int32), axis=1)

    def _dense(self, encoded: tf.RaggedTensor, answered: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Token ids as a dense tensor.

        Args:
            encoded: (batch, None) int32.
            answered: (batch,) bool. Any other row keeps its place as one token of padding, however long its text is.

        Returns:
            Ids (batch, sequence) int32, and how many of each row are its own (batch,) int32.
        """
        lengths = tf.where(answered, encoded.row_lengths(), 0)
        values = tf.boolean_mask(encoded.values, repeat(answered, encoded.row_lengths()))
        kept = tf.RaggedTensor.from_row_lengths(values, lengths, validate=False)
        longest = tf.maximum(tf.reduce_max(tf.concat([lengths, [1]], 0)), 1)
        ids = kept.to_tensor(self.tokenizer.pad_token_id, shape=[None, None])
        ids = tf.pad(
            ids, [[0, 0], [0, longest - tf.shape(ids, tf.int64)[1]]], constant_values=self.tokenizer.pad_token_id
        )
        return ids, tf.cast(tf.maximum(lengths, 1), tf.int32)

    def _allowed(self, targets: tf.Tensor) -> tf.Tensor:
        """Which tokens the targets (batch,) string allow: (batch, vocabulary) bool."""
        indices, words, _ = tf.raw_ops.StringSplitV2(input=targets, sep="\n")
        ids = tf.cast(self.tokenizer.target_ids(words), tf.int64)
        places = tf.boolean_mask(tf.stack([indices[:, 0], ids], 1), ids >= 0)
        shape = tf.stack([tf.size(targets, tf.int64), tf.constant(self.language_model.vocabulary_size, tf.int64)])
        named = tf.scatter_nd(places, tf.ones_like(places[:, 0], tf.int32), shape) > 0
        return named | (targets == "")[:, None]
