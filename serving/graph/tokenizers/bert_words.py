"""BERT's normalizer and pre-tokenizer in the graph: text to words."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.bert_characters import BLANK, PUNCTUATION, character_classes, characters
from serving.graph.tokenizers.character_normalizer import CharacterNormalizer
from serving.graph.tokenizers.segments import segment_ids


class BertWords(tf.Module):
    """Cuts pieces of text into words without blanks, and each punctuation mark apart.

    Args:
        normalizer: `normalizer` of a `tokenizer.json`, of type BertNormalizer; None where text is normal already.
    """

    def __init__(self, normalizer: Mapping[str, Any] | None) -> None:
        super().__init__()
        self._normalizer = None if normalizer is None else CharacterNormalizer(characters(normalizer))
        self._classes = code_points.CodePointTable(character_classes())

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Cuts pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token, which stays whole.

        Returns:
            Words (words,) string, the characters of each (words,) int64, and its piece (words,) int64.
        """
        points, splits = code_points.decode(pieces)
        piece_of = segment_ids(splits)
        if self._normalizer is not None:
            points, piece_of = self._normalizer(points, piece_of, tf.gather(is_added, piece_of))

        added = tf.gather(is_added, piece_of)
        classes = tf.where(added, 0, self._classes(points))
        solid = tf.where(classes != BLANK)[:, 0]
        mark = classes == PUNCTUATION
        # A word begins after a blank, at a mark, after a mark, and with a piece.
        breaks = tf.cast((classes == BLANK) | mark, tf.int64)
        breaks_before = tf.cumsum(breaks) + tf.cumsum(tf.cast(mark, tf.int64), exclusive=True)
        key = tf.gather(breaks_before, solid)
        piece = tf.gather(piece_of, solid)
        changes = (key[1:] != key[:-1]) | (piece[1:] != piece[:-1])
        begins = tf.concat([tf.ones_like(solid[:1], tf.bool), changes], 0)
        starts = tf.where(begins)[:, 0]
        word_splits = tf.concat([starts, [tf.size(solid, tf.int64)]], 0)
        words = code_points.encode(tf.gather(points, solid), word_splits)
        return words, word_splits[1:] - word_splits[:-1], tf.gather(piece, starts)
