"""Byte-pair encoding of characters in the graph, where a text isn't cut into words before (mmBERT, ESM C).

Merges may go over a whole text. But they can't join everything: a place in a text between two characters, of which no
merge ends its left part with the first and begins its right part with the second, is in no token. There a text is cut
into words.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.merges import Merges, pairs_of
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import fill_in, repeat, segment_ids
from serving.graph.tokenizers.tables import CodePointTable, hash_table

_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


class CharacterBPE(tf.Module):
    """Turns pieces of text into token ids.

    A character that is no token becomes the tokens of its bytes, or without `byte_fallback` the unknown token.

    Args:
        model: `model` of a `tokenizer.json`, of type BPE.
        whole_words: Token id by word, for the words of the vocabulary that the merges leave in one token.
        added: Token id by added token.

    Raises:
        ModelError: If the model has an option that the graph lacks.
    """

    def __init__(self, model: Mapping[str, Any], whole_words: Mapping[str, int], added: Mapping[str, int]) -> None:
        super().__init__()
        vocabulary: dict[str, int] = model["vocab"]
        merges = pairs_of(model)
        # Of the characters of one byte, one that is a token itself needs no token for its byte.
        missing = [
            name
            for byte, name in enumerate(_BYTES)
            if name not in vocabulary and not (byte < 0x80 and chr(byte) in vocabulary)
        ]
        if model.get("byte_fallback") and missing:
            raise refusal("a BPE of characters with byte_fallback and without some of the 256 bytes")
        self._unknown = None if model.get("byte_fallback") else vocabulary.get(model.get("unk_token") or "", -1)
        if self._unknown == -1 or (self._unknown is not None and model.get("fuse_unk")):
            raise refusal("a BPE of characters whose unknown ones aren't each the bytes or each the unknown token")
        if not {part for merge in merges for part in merge}.isdisjoint(_BYTES):
            raise refusal("a BPE that merges the bytes of characters that are no token")
        self._merges = Merges(model)
        characters = np.full(code_points.NUMBER_OF_CODE_POINTS, -1, np.int32)
        for token, token_id in vocabulary.items():
            if len(token) == 1:
                characters[ord(token)] = token_id
        self._characters = CodePointTable(characters)
        self._bytes = tf.constant([vocabulary.get(byte, -1) for byte in _BYTES], tf.int64)
        neighbors = {(left[-1], right[0]) for left, right in merges}
        # A token that is taken as it stands where it's a whole piece of text mustn't be cut.
        whole_pieces = vocabulary if model.get("ignore_merges") else {}
        neighbors |= {pair for token in whole_pieces for pair in itertools.pairwise(token)}
        pairs = np.array([_pair(ord(first), ord(second)) for first, second in neighbors], np.int64)
        self._joined = hash_table(pairs, np.ones(len(pairs), np.int64), 0)
        self._whole = hash_table([word.encode() for word in whole_words], list(whole_words.values()), -1)
        self._whole_pieces = (
            hash_table([token.encode() for token in whole_pieces], list(whole_pieces.values()), -1)
            if whole_pieces
            else None
        )
        self._added = hash_table([content.encode() for content in added], list(added.values()), -1)

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes pieces.

        Args:
            pieces: (pieces,) string, normal text in valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token.

        Returns:
            Token ids (tokens,) int32, and the piece of each (tokens,) int64.
        """
        points, splits = code_points.decode(pieces)
        piece_of = segment_ids(splits)
        before = tf.concat([[0], points[:-1]], 0)[: tf.size(points)]
        first = tf.concat([[True], piece_of[1:] != piece_of[:-1]], 0)[: tf.size(points)]
        may_join = self._joined.lookup(_pair(tf.cast(before, tf.int64), tf.cast(points, tf.int64))) > 0
        starts = tf.where(first | ~(may_join | tf.gather(is_added, piece_of)))[:, 0]
        splits = tf.concat([starts, [tf.size(points, tf.int64)]], 0)
        words, piece_of = code_points.encode(points, splits), tf.gather(piece_of, starts)

        whole = tf.where(tf.gather(is_added, piece_of), self._added.lookup(words), self._whole.lookup(words))
        if self._whole_pieces is not None:
            same = piece_of[1:] == piece_of[:-1]
            alone = ~(tf.concat([[False], same], 0) | tf.concat([same, [False]], 0))[: tf.size(piece_of)]
            as_piece = tf.where(alone, self._whole_pieces.lookup(words), -1)
            whole = tf.where((as_piece >= 0) & ~tf.gather(is_added, piece_of), as_piece, whole)
        lengths = splits[1:] - splits[:-1]
        ids, word_of = self._merge(
            tf.boolean_mask(points, repeat(whole < 0, lengths)), tf.boolean_mask(lengths, whole < 0)
        )
        tokens, lengths = fill_in(whole, tf.ones_like(whole), tf.where(whole < 0)[:, 0], ids, word_of)
        return tokens, repeat(piece_of, lengths)

    def _merge(self, points: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Token ids (tokens,) int64 of words, and the word of each (tokens,) int64.

        Args:
            points: (characters,) int32, of all words.
            lengths: (words,) int64, the characters of each.
        """
        ids = tf.cast(self._characters(points), tf.int64)
        if self._unknown is not None:
            return self._merges(tf.where(ids < 0, tf.constant(self._unknown, tf.int64), ids), lengths)
        word_of = repeat(tf.range(tf.size(lengths, tf.int64)), lengths)
        texts = code_points.encode(points, tf.range(tf.size(points, tf.int64) + 1))
        parts = tf.where(ids < 0, tf.cast(tf.strings.length(texts), tf.int64), tf.ones_like(ids))
        letters = tf.io.decode_raw(tf.strings.reduce_join(tf.boolean_mask(texts, ids < 0)), tf.uint8)
        repeated = repeat(ids, parts)
        in_bytes = tf.gather(self._bytes, tf.cast(letters, tf.int32))
        ids = tf.tensor_scatter_nd_update(repeated, tf.where(repeated < 0), in_bytes)
        return self._merges(ids, tf.math.unsorted_segment_sum(parts, word_of, tf.size(lengths, tf.int64)))


def _pair(first: int | tf.Tensor, second: int | tf.Tensor) -> int | tf.Tensor:
    return first * code_points.NUMBER_OF_CODE_POINTS + second
