"""What the exported model answers to: raw text, or token ids.

| signature         | inputs                        | outputs                                                        |
|-------------------|-------------------------------|----------------------------------------------------------------|
| `serving_default` | `text`                        | `score`, `token`, `token_str`, `sequence`, `status`,           |
|                   |                               | `num_masks`, `num_tokens`                                      |
| `fill_mask`       | `text`, `top_k`, `targets`    | the same, `target_notes`                                       |
| `tokens`          | `input_ids`, `attention_mask` | `position`, `score`, `token`                                   |
| `logits`          | `input_ids`, `attention_mask` | `logits`                                                       |

A model with parts for single languages, such as an X-MOD, answers one more: `tokens_in_language`, which is `tokens`
with `language_ids`.

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
from serving.graph import checks
from serving.graph.batching import InGraphBatching, RowBatcher, fit
from serving.graph.language_model import Model
from serving.graph.masks import by_row, in_turns, mask_positions
from serving.graph.target_notes import TargetWords
from serving.graph.token_signatures import NO_TOKEN, TokenSignatures
from serving.graph.tokenizers.in_graph import UNCUT, InGraphTokenizer
from serving.graph.tokenizers.segments import segment_ids

TEXTS_DECODED = 4
"""How many tokens are decoded for each of a text, with what comes before a mask and after it."""
BYTES_OF_A_CELL = 8
"""For how many tokens of a joined text there is room in the memory that the decoding of one takes."""
PADDING = {"score": 0.0, "token": NO_TOKEN, "token_str": "", "sequence": ""}
"""The outputs that have values for each mask and candidate, with what stands where a text has no more of them."""


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
        batching: How the requests of many clients are batched in the graph; None for each by itself.

    Example:
        in_graph = build_in_graph_tokenizer(tokenizer, model.config.vocab_size, 512)
        module = TextSignatures(model, in_graph, top_k=5, max_top_k=100, max_sequence_length=512)
        module.serving_default(tf.constant(["Paris is in <mask>."]))["token_str"][0, 0]
        module.save(Path("fill_mask/1"))
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
        batching: InGraphBatching | None = None,
    ) -> None:
        super().__init__(
            model,
            tokenizer.mask_token_id,
            top_k=top_k,
            max_sequence_length=max_sequence_length,
            batching=batching,
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
        return self._answer("serving_default", text)

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
            target_notes: (batch,) string, a line for each word that is no single token: which token stands for it,
                and the form of the word that is one, such as the one with a blank before it. Empty where there is none.

        Raises:
            InvalidArgumentError: If there are neither as many of `top_k` or `targets` as texts, nor one.
        """
        # A request can give the inputs any lengths, and rows that no text has would be read out of bounds.
        text = tf.ensure_shape(text, [None])
        texts = tf.size(text)
        top_k = checks.for_each_text(top_k, "top_k", texts)
        targets = checks.for_each_text(targets, "targets", texts)
        return self._answer("fill_mask", checks.checked(text, top_k.op, targets.op), top_k, targets)

    def signatures(self) -> dict[str, Any]:
        """The functions to save, by signature."""
        return {
            "serving_default": self.serving_default,
            "fill_mask": self.fill_mask,
            **self.token_signatures(),
        }

    def tables(self) -> list[tf.Module]:
        """What holds the tables that the signatures use."""
        return [self.tokenizer]

    def _answer(
        self, name: str, text: tf.Tensor, top_k: tf.Tensor | None = None, targets: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """The outputs of a signature, asked together with other requests where the graph batches them.

        Args:
            name: The signature's.
            text: (batch,) string.
            top_k: (batch,) int32; None for `top_k` everywhere.
            targets: (batch,) string; None for the whole vocabulary.
        """
        text = tf.ensure_shape(text, [None])
        if self.batching is None:
            return self._arranged(*self._answers(text, top_k, targets))
        inputs = [tensor for tensor in (text, top_k, targets) if tensor is not None]
        of_texts = {"status": tf.string, "num_masks": tf.int32, "num_tokens": tf.int32}
        most = tf.constant(self.top_k)
        if top_k is not None:
            # So many candidates at most are this request's; others in the batch may ask for more.
            most = tf.reduce_max(tf.concat([tf.minimum(top_k, self.max_top_k), [1]], 0))
        if targets is not None:
            of_texts["target_notes"] = tf.string

        outputs = (*PADDING, *of_texts)

        def rows(*inputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
            answer = self._arranged(*self._answers(*inputs))
            of_masks = [tf.ensure_shape(answer[output], [None, None, None]) for output in PADDING]
            return (*of_masks, *(tf.ensure_shape(answer[output], [None]) for output in of_texts))

        def answer(*results: tf.Tensor) -> dict[str, tf.Tensor]:
            # What lies beyond this request's own masks and candidates is padding.
            found = dict(zip(outputs, results, strict=True))
            masks = tf.maximum(tf.reduce_max(found["num_masks"]), 1)
            candidates = None if top_k is None else self._most_candidates(top_k, found["status"])
            return {**found, **{output: found[output][:, :masks, :candidates] for output in PADDING}}

        def keep(*results: tf.Tensor) -> tuple[tf.Tensor, ...]:
            found = dict(zip(outputs, results, strict=True))
            masks = tf.shape(found["score"])[1]
            is_own = tf.sequence_mask(found["num_masks"], masks)
            inner = tf.stack([masks, most])
            own = (tf.boolean_mask(fit(found[output], inner, padding), is_own) for output, padding in PADDING.items())
            return (*own, *(found[output] for output in of_texts))

        def join(*kept: tf.Tensor) -> dict[str, tf.Tensor]:
            of_masks = dict(zip(PADDING, kept[: len(PADDING)], strict=True))
            of_rows = dict(zip(of_texts, kept[len(PADDING) :], strict=True))
            if top_k is not None:
                candidates = self._most_candidates(top_k, of_rows["status"])
                of_masks = {output: values[:, :candidates] for output, values in of_masks.items()}
            batch = tf.size(of_rows["num_masks"], tf.int64)
            return self._arranged(of_masks, of_rows, tf.repeat(tf.range(batch), of_rows["num_masks"]))

        nothing = [tf.fill(tf.stack([0, most]), padding) for padding in PADDING.values()]
        nothing += [tf.zeros([0], dtype) for dtype in of_texts.values()]
        return RowBatcher(name, self.batching)(rows, inputs, answer, keep, nothing, join)

    def _most_candidates(self, top_k: tf.Tensor, status: tf.Tensor) -> tf.Tensor:
        """The largest `top_k` (batch,) of the texts with an answer, at least 1: () int32."""
        asked = tf.boolean_mask(top_k, self._is_answered(status))
        return tf.reduce_max(tf.concat([asked, [1]], 0))

    @staticmethod
    def _arranged(
        of_masks: dict[str, tf.Tensor], of_texts: dict[str, tf.Tensor], row_of: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The outputs of a signature.

        Args:
            of_masks: (masks, candidates) each, in reading order.
            of_texts: (batch,) each.
            row_of: (masks,) int64, the text of each mask.
        """
        batch = tf.size(of_texts["num_masks"], tf.int64)
        arranged = {output: by_row(values, row_of, batch, PADDING[output]) for output, values in of_masks.items()}
        return {**arranged, **of_texts}

    def _answers(
        self, text: tf.Tensor, top_k: tf.Tensor | None = None, targets: tf.Tensor | None = None
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor], tf.Tensor]:
        """What is answered of each mask, (masks, candidates) in reading order, and of each text, (batch,).

        And the text of each mask, (masks,) int64.
        """
        encoded, num_tokens, num_masks, status = self._encode(text)
        allowed = None
        if top_k is not None:
            status = tf.where((top_k < 1) | (top_k > self.max_top_k), INVALID_TOP_K, status)
        if targets is not None:
            words = TargetWords(self.tokenizer, targets)
            row_of, target_ids = words.named()
            named = tf.math.bincount(tf.cast(row_of, tf.int32), minlength=tf.size(text), maxlength=tf.size(text))
            status = tf.where(self._is_answered(status) & (named == 0) & (targets != ""), NO_TARGET, status)
        answered = self._is_answered(status)
        num_masks = tf.where(answered, num_masks, 0)

        # From here on, the rows that are answered: `asked` of the batch's.
        asked = tf.where(answered)[:, 0]
        ids, lengths = self._dense(encoded, answered)
        attention_mask = tf.sequence_mask(lengths, tf.shape(ids)[1], tf.int32)
        top_ks = tf.fill(tf.shape(asked), self.top_k) if top_k is None else tf.gather(top_k, asked)
        if targets is not None:
            allowed = self._allowed(row_of, target_ids, targets, asked)
        masks = tf.gather(num_masks, asked)
        score, token = self._best(ids, attention_mask, lengths, None if top_k is None else top_ks, allowed)
        places = mask_positions(ids, attention_mask, self.mask_token_id)  # (masks, 2)
        rows = places[:, 0]
        candidates = tf.shape(score)[1]
        length = tf.shape(ids, tf.int64)[1]

        def turn(numbers: tf.Tensor) -> tuple[tf.Tensor, ...]:
            row = tf.gather(rows, numbers)
            scores, tokens = tf.gather(score, numbers), tf.gather(token, numbers)  # (some, candidates)
            wanted = (tf.range(candidates) < tf.gather(top_ks, row)[:, None]) & (scores >= 0)
            text_ids, pad = tf.gather(ids, row), self.tokenizer.pad_token_id
            # The pipeline leaves padding out of the sequence, a candidate that is padding too.
            sequence = self.tokenizer.decode.with_each(
                text_ids,
                text_ids != pad,
                tf.gather(places[:, 1], numbers),
                tokens,
                (tokens != pad) & wanted,
                skip_special_tokens=tf.gather(masks, row) == 1,
            )
            alone = tf.reshape(tokens, [-1, 1])
            token_str = self.tokenizer.decode(
                alone, tf.reshape(wanted, [-1, 1]), skip_special_tokens=tf.zeros_like(alone[:, 0], tf.bool)
            )
            return (
                tf.where(wanted, scores, 0.0),
                tf.where(wanted, tokens, NO_TOKEN),
                tf.reshape(token_str, [-1, candidates]),
                tf.where(wanted, sequence, ""),
            )

        dtypes = (tf.float32, tf.int32, tf.string, tf.string)
        # The text's tokens are decoded once, and each candidate's sequence is a string of a few bytes a token.
        cells = (tf.cast(candidates, tf.int64) // BYTES_OF_A_CELL + TEXTS_DECODED) * length
        of_masks = in_turns(tf.shape(places, tf.int64)[0], turn, dtypes, cells)
        of_texts = {"status": status, "num_masks": num_masks, "num_tokens": num_tokens}
        if targets is not None:
            of_texts["target_notes"] = words.notes()
        return dict(zip(PADDING, of_masks, strict=True)), of_texts, tf.gather(asked, rows)

    def _encode(self, text: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Token ids (batch, None) int32, how many there were before a cut, the masks left, and the status (batch,)."""
        longest = self.max_sequence_length
        ids = self.tokenizer.tokenize(text)
        num_tokens = tf.cast(ids.row_lengths(), tf.int32) + self.tokenizer.tokens_around
        is_too_long = num_tokens > longest
        if not self.truncation:
            encoded = self.tokenizer.enclose(ids)
            num_masks = self._count(encoded, self.mask_token_id)
            status = tf.where(is_too_long, TOO_MANY_TOKENS, tf.where(num_masks > 0, OK, NO_MASK))
            return encoded, num_tokens, num_masks, status
        has_mask = self._count(ids, self.mask_token_id) > 0
        encoded = self.tokenizer.enclose(self.tokenizer.truncate(ids, longest))
        num_masks = self._count(encoded, self.mask_token_id)
        status = tf.where(num_masks > 0, truncated_to(longest), no_mask_within(longest))
        # What a part of a word that is too long to be cut starts with isn't known.
        status = tf.where(self._count(encoded, UNCUT) > 0, TOO_MANY_TOKENS, status)
        return encoded, num_tokens, num_masks, tf.where(has_mask, tf.where(is_too_long, status, OK), NO_MASK)

    def _is_answered(self, status: tf.Tensor) -> tf.Tensor:
        """Which texts have an answer, (batch,) bool."""
        return (status == OK) | (status == truncated_to(self.max_sequence_length))

    @staticmethod
    def _count(encoded: tf.RaggedTensor, token_id: int) -> tf.Tensor:
        """How often each text (batch, None) int32 has a token: (batch,) int32."""
        is_it = tf.cast(encoded.values == token_id, tf.int32)
        return tf.math.unsorted_segment_sum(is_it, segment_ids(encoded.row_splits), encoded.nrows())

    def _dense(self, encoded: tf.RaggedTensor, answered: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Token ids of the answered texts as a dense tensor.

        Args:
            encoded: (batch, None) int32.
            answered: (batch,) bool.

        Returns:
            Ids (answered, sequence) int32, and how many of each row are its own (answered,) int32.
        """
        values = tf.boolean_mask(encoded.values, tf.gather(answered, segment_ids(encoded.row_splits)))
        lengths = tf.boolean_mask(encoded.row_lengths(), answered)
        kept = tf.RaggedTensor.from_row_lengths(values, lengths, validate=False)
        ids = kept.to_tensor(self.tokenizer.pad_token_id, shape=[None, None])
        # Where no text is answered there is still a place for a token, whose shapes go with those of the candidates.
        missing = [[0, 0], [0, tf.maximum(1 - tf.shape(ids)[1], 0)]]
        return tf.pad(ids, missing), tf.cast(lengths, tf.int32)

    def _allowed(self, row_of: tf.Tensor, ids: tf.Tensor, targets: tf.Tensor, asked: tf.Tensor) -> tf.Tensor:
        """Which tokens may be candidates in the rows that are asked: (asked, vocabulary) bool."""
        rows = tf.size(targets, tf.int64)
        place = tf.tensor_scatter_nd_update(
            tf.fill([rows], tf.constant(-1, tf.int64)), asked[:, None], tf.range(tf.size(asked, tf.int64))
        )
        place_of = tf.gather(place, row_of)
        places = tf.boolean_mask(tf.stack([place_of, ids], 1), place_of >= 0)
        shape = tf.stack([tf.size(asked, tf.int64), tf.constant(self.language_model.vocabulary_size, tf.int64)])
        named = tf.scatter_nd(places, tf.ones_like(places[:, 0], tf.int32), shape) > 0
        return named | (tf.gather(targets, asked) == "")[:, None]
