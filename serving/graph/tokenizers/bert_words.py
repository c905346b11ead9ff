"""BERT's normalizer and pre-tokenizer in the graph: text to words."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.normalization.character_normalizer import CharacterNormalizer, bert_normal_forms
from serving.graph.tokenizers.segments import segment_ids
from serving.graph.tokenizers.tables import CodePointTable

WORD, BLANK, PUNCTUATION = range(3)


@functools.cache
def character_classes() -> np.ndarray:
    """The class of every code point, as BERT's pre-tokenizer sees it.

    Returns:
        (0x110000,) int32 of WORD, BLANK and PUNCTUATION.
    """
    from tokenizers.pre_tokenizers import BertPreTokenizer

    pre_tokenizer = BertPreTokenizer()
    points = np.array(code_points.scalar_values())
    found = np.full(len(points), BLANK, np.int32)
    for text, (start, end) in pre_tokenizer.pre_tokenize_str("".join(map(chr, points))):
        # Punctuation stands alone; so may a character between two signs.
        alone = end - start == 1 and len(pre_tokenizer.pre_tokenize_str("a" + text)) == 2
        found[start:end] = PUNCTUATION if alone else WORD
    classes = np.full(code_points.NUMBER_OF_CODE_POINTS, BLANK, np.int32)
    classes[points] = found
    return classes


class BertWords(tf.Module):
    """Cuts pieces of text into words without blanks, and each punctuation mark apart.

    Args:
        normalizer: `normalizer` of a `tokenizer.json`, of type BertNormalizer; None where text is normal already.
    """

    def __init__(self, normalizer: Mapping[str, Any] | None) -> None:
        super().__init__()
        self._normalizer = None if normalizer is None else CharacterNormalizer(bert_normal_forms(normalizer))
        self._classes = CodePointTable(character_classes())

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
