"""SentencePiece's unigram model in the graph (ALBERT, CamemBERT, XLM-RoBERTa, DeBERTa-v2, RemBERT).

Kudo, "Subword Regularization" (2018): of all ways to cut a word into pieces of the vocabulary the most probable one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.best_path import best_path
from serving.graph.tokenizers.looked_up_words import fill_in
from serving.graph.tokenizers.metaspace_words import MetaspaceWords
from serving.graph.tokenizers.piece_table import PieceTable
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import repeat, segment_ids
from serving.graph.tokenizers.tables import hash_table

# What an unknown character scores below the least probable piece.
_UNKNOWN_PENALTY = 10.0


class Unigram(tf.Module):
    """Turns pieces of text into token ids.

    Args:
        model: `model` of a `tokenizer.json`, of type Unigram.
        whole_words: Token id by word, for the words of the vocabulary that the tokenizer leaves in one token.
        added: Token id by added token.
        words: The pre-tokenizer.
        most_tokens: The most tokens of a text that matter; None for any number. A word of so many characters that even
            the longest pieces would make more tokens isn't cut. It counts as that many unknown tokens, also where it
            has so many unknown characters, which make one token together.

    Raises:
        ModelError: If the model has an option that the graph lacks.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        whole_words: Mapping[bytes, int],
        added: Mapping[str, int],
        words: MetaspaceWords,
        most_tokens: int | None,
    ) -> None:
        super().__init__()
        self.words = words
        if model["unk_id"] is None:
            raise refusal("a unigram model without an unknown token")
        # Of equal pieces the last one counts.
        vocabulary = {piece: (token, score) for token, (piece, score) in enumerate(model["vocab"]) if piece}
        self._unknown = int(model["unk_id"])
        self._table = PieceTable(list(vocabulary))
        # The loop over a word's characters takes some microseconds for each.
        self._most_characters = None if most_tokens is None else most_tokens * self._table.width
        tokens, scores = zip(*vocabulary.values(), strict=True)
        lowest = min(score for _, score in model["vocab"])
        # By a piece's index and one more: 0 stands for no piece, the last one for an unknown character.
        self._scores = tf.constant([-np.inf, *scores, lowest - _UNKNOWN_PENALTY], tf.float64)
        self._tokens = tf.constant([self._unknown, *tokens, self._unknown], tf.int64)
        self._whole = hash_table(list(whole_words), list(whole_words.values()), -1)
        self._added = hash_table([content.encode() for content in added], list(added.values()), -1)
        self._unknown_text = model["vocab"][self._unknown][0]
        self._byte_tokens = None
        if model.get("byte_fallback"):
            names = [f"<0x{byte:02X}>" for byte in range(256)]
            if not all(name in vocabulary for name in names):
                raise refusal("a unigram model with byte_fallback and without some of the 256 bytes")
            self._byte_tokens = tf.constant([vocabulary[name][0] for name in names], tf.int64)

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes pieces.

        Args:
            pieces: (pieces,) string, normal text in valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token.

        Returns:
            Token ids (tokens,) int32, and the piece of each (tokens,) int64.
        """
        points, splits, piece_of = self.words(pieces, is_added)
        words = code_points.encode(points, splits)
        whole = tf.where(tf.gather(is_added, piece_of), self._added.lookup(words), self._whole.lookup(words))
        lengths = splits[1:] - splits[:-1]
        repeats = tf.ones_like(whole)
        if self._most_characters is not None:
            too_long = (whole < 0) & (lengths > self._most_characters)
            whole = tf.where(too_long, tf.constant(self._unknown, tf.int64), whole)
            repeats = tf.where(too_long, -(-lengths // self._table.width), repeats)
        positions = tf.where(whole < 0)[:, 0]
        unknown = repeat(whole < 0, lengths)
        ids, word_of = self._cut(tf.boolean_mask(points, unknown), tf.gather(lengths, positions))
        tokens, lengths = fill_in(whole, repeats, positions, ids, word_of)
        return tokens, repeat(piece_of, lengths)

    def _cut(self, points: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Cuts words into pieces.

        Args:
            points: (characters,) int32, of all words.
            lengths: (words,) int64, the characters of each.

        Returns:
            Token ids (tokens,) int64, and the word of each (tokens,) int64.
        """
        width = self._table.width
        splits = tf.concat([[0], tf.cumsum(lengths)], 0)
        word_of = segment_ids(splits)
        left = tf.gather(splits, word_of + 1) - tf.range(tf.size(points, tf.int64))
        found, index = self._table(points, left)
        ends = tf.stack([tf.reduce_sum(found, 1), width - 1 - found[:, 1]], 1)
        shape = tf.stack([tf.size(points, tf.int64), width])
        piece = tf.scatter_nd(ends, index + 1, shape)  # (characters, width), ends of pieces, the longest first
        last = piece[:, -1:]
        piece = tf.concat([piece[:, :-1], tf.where(last == 0, tf.cast(tf.size(self._scores) - 1, last.dtype), last)], 1)
        taken = best_path(tf.gather(self._scores, piece), splits)

        ends = tf.where(taken > 0)[:, 0]
        taken = tf.gather(taken, ends)
        ids = tf.gather(self._tokens, tf.gather_nd(piece, tf.stack([ends, width - taken], 1)))
        unknown = ids == self._unknown
        word_of = tf.gather(word_of, ends)
        # Neighbouring unknown tokens are one.
        joins = tf.concat([[False], unknown[1:] & unknown[:-1] & (word_of[1:] == word_of[:-1])], 0)[: tf.size(ids)]
        kept = tf.where(~joins)[:, 0]
        if self._byte_tokens is not None:
            starts = tf.gather(ends - taken + 1, kept)
            texts = code_points.encode(points, tf.concat([starts, [tf.size(points, tf.int64)]], 0))
            return self._as_bytes(tf.gather(ids, kept), tf.gather(word_of, kept), texts)
        return tf.gather(ids, kept), tf.gather(word_of, kept)

    def _as_bytes(self, ids: tf.Tensor, word_of: tf.Tensor, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Puts the tokens of its bytes in the place of every unknown token.

        Args:
            ids: (tokens,) int64.
            word_of: (tokens,) int64, the word of each.
            texts: (tokens,) string, what each stands for. The name of the unknown token stands for itself.
        """
        in_bytes = (ids == self._unknown) & (texts != self._unknown_text)
        byte_of = tf.cast(
            tf.io.decode_raw(tf.strings.reduce_join(tf.boolean_mask(texts, in_bytes)), tf.uint8), tf.int32
        )
        lengths = tf.where(in_bytes, tf.cast(tf.strings.length(texts), tf.int64), tf.ones_like(ids))
        repeated = repeat(tf.where(in_bytes, -tf.ones_like(ids), ids), lengths)
        ids = tf.tensor_scatter_nd_update(repeated, tf.where(repeated < 0), tf.gather(self._byte_tokens, byte_of))
        return ids, repeat(word_of, lengths)
