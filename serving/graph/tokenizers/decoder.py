"""Token ids to text in the graph."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.byte_level_bpe import token_bytes
from serving.graph.tokenizers.refusal import refusal

# What `PreTrainedTokenizerBase.clean_up_tokenization` replaces, in its order.
_CLEAN_UP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
_REPLACEMENT = "\ufffd"


class Decoder(tf.Module):
    """Joins the texts of tokens.

    Args:
        first: The bytes of every token id where it comes first, by id; None where the tokenizer has no such token.
        rest: The same where another token stands before it.
        special_ids: The ids that `skip_special_tokens` leaves out.
        clean_up: Whether the tokenizer removes the blanks before punctuation (`clean_up_tokenization_spaces`).
        byte_ids: The ids that stand for one byte each. Where neighbors of them are no valid UTF-8 together, each
            becomes U+FFFD.
    """

    def __init__(
        self,
        first: Sequence[bytes | None],
        rest: Sequence[bytes | None],
        special_ids: set[int],
        clean_up: bool,
        byte_ids: set[int],
    ) -> None:
        super().__init__()
        self._first = tf.constant([text or b"" for text in first], tf.string)
        # One copy in the SavedModel where the place makes no difference, as with bytes.
        self._rest = self._first if rest == first else tf.constant([text or b"" for text in rest], tf.string)
        self._absent = tf.constant([text is None for text in first], tf.bool)
        self._special = tf.constant([token in special_ids for token in range(len(first))], tf.bool)
        self._is_byte = tf.constant([token in byte_ids for token in range(len(first))], tf.bool) if byte_ids else None
        self._clean_up = clean_up

    def __call__(self, ids: tf.Tensor, kept: tf.Tensor, skip_special_tokens: tf.Tensor) -> tf.Tensor:
        """Decodes sequences.

        Args:
            ids: (sequences, length) int32.
            kept: (sequences, length) bool, False for what isn't part of the sequence, such as padding.
            skip_special_tokens: (sequences,) bool.

        Returns:
            (sequences,) string, valid UTF-8.
        """
        text = self._joined(ids, self._has_text(ids, kept, skip_special_tokens))
        return self._cleaned(code_points.valid_utf8(text))

    def with_each(
        self,
        ids: tf.Tensor,
        kept: tf.Tensor,
        place: tf.Tensor,
        candidates: tf.Tensor,
        kept_candidates: tf.Tensor,
        skip_special_tokens: tf.Tensor,
    ) -> tf.Tensor:
        """Decodes sequences with each of some candidates in one of their places; what stands around it only once.

        Args:
            ids: (sequences, length) int32.
            kept: (sequences, length) bool, as above.
            place: (sequences,) int64, where the candidates go.
            candidates: (sequences, candidates) int32.
            kept_candidates: (sequences, candidates) bool.
            skip_special_tokens: (sequences,) bool.

        Returns:
            (sequences, candidates) string, valid UTF-8.
        """
        column = tf.range(tf.shape(ids, tf.int64)[1])
        if self._is_byte is not None:
            # A candidate that is a byte may make its neighbors valid, so nothing around it is the same for all.
            is_place = (column == place[:, None])[:, None, :]
            each = [tf.where(is_place, candidates[:, :, None], ids[:, None, :])]
            each.append(tf.where(is_place, kept_candidates[:, :, None], kept[:, None, :]))
            flat_ids, flat_kept = (tf.reshape(tensor, [-1, tf.shape(ids)[1]]) for tensor in each)
            skip = tf.repeat(skip_special_tokens, tf.shape(candidates)[1])
            return tf.reshape(self(flat_ids, flat_kept, skip), tf.shape(candidates))
        has_text = self._has_text(ids, kept, skip_special_tokens)
        is_before, is_after = has_text & (column < place[:, None]), has_text & (column > place[:, None])
        is_led = tf.reduce_any(is_before, 1)[:, None]
        is_taken = self._has_text(candidates, kept_candidates, skip_special_tokens)
        middle = tf.where(is_led, tf.gather(self._rest, candidates), tf.gather(self._first, candidates))
        before = self._joined(ids, is_before)[:, None]
        middle = tf.where(is_taken, middle, "")
        after = tf.strings.reduce_join(tf.where(is_after, tf.gather(self._rest, ids), ""), axis=1)[:, None]
        parts = [before, middle, after]
        if self._rest is not self._first:
            # What follows comes first itself where nothing stands before it.
            parts.append(self._joined(ids, is_after)[:, None])
            after = tf.where(is_led | is_taken, after, parts[-1])
        text = tf.strings.join([tf.broadcast_to(part, tf.shape(candidates)) for part in (before, middle, after)])
        # Parts that are valid make a valid text, and to make sure of that is what takes longest.
        is_valid = tf.reduce_all([tf.ones_like(is_taken) & (code_points.valid_utf8(part) == part) for part in parts], 0)
        doubtful = tf.where(~is_valid)
        text = tf.tensor_scatter_nd_update(text, doubtful, code_points.valid_utf8(tf.gather_nd(text, doubtful)))
        return self._cleaned(text)

    def _has_text(self, ids: tf.Tensor, kept: tf.Tensor, skip_special_tokens: tf.Tensor) -> tf.Tensor:
        """Which of the ids (sequences, length) are part of the text: (sequences, length) bool."""
        kept = kept & ~tf.gather(self._absent, ids)
        return kept & ~(skip_special_tokens[:, None] & tf.gather(self._special, ids))

    def _joined(self, ids: tf.Tensor, has_text: tf.Tensor) -> tf.Tensor:
        """The texts of some ids of each sequence (sequences, length), one after the other: (sequences,) string."""
        is_first = has_text & (tf.cumsum(tf.cast(has_text, tf.int32), axis=1) == 1)
        texts = tf.where(is_first, tf.gather(self._first, ids), tf.where(has_text, tf.gather(self._rest, ids), ""))
        if self._is_byte is not None:
            texts = _with_valid_bytes(texts, has_text, tf.gather(self._is_byte, ids))
        return tf.strings.reduce_join(texts, axis=1)

    def _cleaned(self, text: tf.Tensor) -> tf.Tensor:
        """Texts as the tokenizer gives them out: without blanks before punctuation, if it removes them."""
        if self._clean_up:
            for blanked in _CLEAN_UP:
                text = tf.strings.regex_replace(text, blanked.replace("?", "\\?").replace(".", "\\."), blanked.strip())
        return text


def decoder_of(
    backend: Any, settings: Mapping[str, Any], vocabulary: Mapping[str, int], size: int, clean_up: bool
) -> Decoder:
    """Makes the decoder that a `tokenizer.json` describes.

    Args:
        backend: The Rust tokenizer.
        settings: Its `tokenizer.json`.
        vocabulary: Token id by token.
        size: How many ids there are.
        clean_up: Whether the tokenizer removes the blanks before punctuation.

    Raises:
        ModelError: If it's of a kind that isn't known.
    """
    decoder = settings["decoder"] or {"type": "none"}
    parts = decoder.get("decoders", [decoder])
    kinds = [part["type"] for part in parts]
    first: list[bytes | None] = [None] * size
    rest: list[bytes | None] = [None] * size
    byte_ids: set[int] = set()
    if kinds == ["ByteLevel"]:
        for token, token_id in vocabulary.items():
            first[token_id] = rest[token_id] = token_bytes(token)
    elif kinds == ["Replace", "ByteFallback", "Fuse"] and parts[0]["pattern"].get("String"):
        for token, token_id in vocabulary.items():
            text = token.replace(parts[0]["pattern"]["String"], parts[0]["content"])
            byte = _BYTE.fullmatch(text)
            first[token_id] = rest[token_id] = bytes.fromhex(byte[1]) if byte else text.encode()
            if byte:
                byte_ids.add(token_id)
    elif kinds in (["WordPiece"], ["Metaspace"], ["none"]):
        ids = list(vocabulary.values())
        lead = backend.decode([ids[0]], skip_special_tokens=False)
        alone = backend.decode_batch([[token_id] for token_id in ids], skip_special_tokens=False)
        after = backend.decode_batch([[ids[0], token_id] for token_id in ids], skip_special_tokens=False)
        for token_id, text, longer in zip(ids, alone, after, strict=True):
            first[token_id] = text.encode()
            rest[token_id] = longer[len(lead) :].encode()
    else:
        raise refusal(f"a decoder of type {' and '.join(kinds)}")
    special = {token["id"] for token in settings["added_tokens"] if token["special"]}
    return Decoder(first, rest, special, clean_up, byte_ids)


def _with_valid_bytes(texts: tf.Tensor, kept: tf.Tensor, is_byte: tf.Tensor) -> tf.Tensor:
    """Puts U+FFFD in the place of every byte of a run of bytes that is no valid UTF-8.

    Args:
        texts: (sequences, length) string.
        kept: (sequences, length) bool; what isn't kept ends no run.
        is_byte: (sequences, length) bool.

    Returns:
        (sequences, length) string.
    """
    places = tf.where(kept)
    flat, flat_is_byte, row_of = tf.boolean_mask(texts, kept), tf.boolean_mask(is_byte, kept), places[:, 0]
    goes_on = flat_is_byte[1:] & flat_is_byte[:-1] & (row_of[1:] == row_of[:-1])
    run_of = tf.cumsum(tf.cast(~tf.concat([[False], goes_on], 0)[: tf.size(flat)], tf.int64), exclusive=False) - 1
    runs = tf.strings.unsorted_segment_join(flat, run_of, tf.size(flat, tf.int64))
    is_valid = tf.gather(code_points.valid_utf8(runs) == runs, run_of)
    return tf.tensor_scatter_nd_update(texts, places, tf.where(flat_is_byte & ~is_valid, _REPLACEMENT, flat))
