"""SentencePiece's pre-tokenizer in the graph: text to words that begin with a sign for the blank before them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.bert_words import PUNCTUATION, character_classes
from serving.graph.tokenizers.literals import WHITE_SPACE
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import segment_ids
from serving.graph.tokenizers.tables import CodePointTable

_SPACE = 0x20
_SPLITS = ("WhitespaceSplit", "Punctuation")


class MetaspaceWords(tf.Module):
    """Cuts pieces of text into words.

    Args:
        settings: `pre_tokenizer` of a `tokenizer.json`: Metaspace, alone or after WhitespaceSplit or Punctuation.

    Raises:
        ModelError: If it's another one.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        parts = settings["pretokenizers"] if settings["type"] == "Sequence" else [settings]
        kinds = [part["type"] for part in parts]
        metaspace = parts[-1] if parts else {}
        if (
            kinds[-1:] != ["Metaspace"]
            or not set(kinds[:-1]) <= set(_SPLITS)
            or any(part.get("behavior", "Isolated") != "Isolated" for part in parts)
        ):
            raise refusal(f"the pre-tokenizer {' and '.join(kinds) or 'of no part'}")
        if metaspace["prepend_scheme"] == "first":
            raise refusal("a Metaspace that is prepended to the first word only, which depends on normalization")
        self._sign = ord(metaspace["replacement"])
        self._prepends = metaspace["prepend_scheme"] == "always"
        self._splits_at_sign = metaspace["split"]
        self._drops_blanks, self._isolates = "WhitespaceSplit" in kinds, "Punctuation" in kinds
        blank = np.isin(np.arange(code_points.NUMBER_OF_CODE_POINTS), WHITE_SPACE)
        self._is_blank = CodePointTable(blank)
        self._is_mark = CodePointTable(character_classes() == PUNCTUATION)

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Cuts pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token, which stays whole.

        Returns:
            The characters of all words (characters,) int32, where words begin and the last one ends
            (words + 1,) int64, and the piece of each word (words,) int64.
        """
        points, splits = code_points.decode(pieces)
        piece_of = segment_ids(splits)
        added = tf.gather(is_added, piece_of)
        first = tf.concat([[True], piece_of[1:] != piece_of[:-1]], 0)[: tf.size(points)]
        begins = first
        if self._isolates:
            mark = (self._is_mark(points) != 0) & ~added
            begins |= mark | tf.concat([[False], mark[:-1]], 0)[: tf.size(points)]
        if self._drops_blanks:
            blank = (self._is_blank(points) != 0) & ~added
            begins |= tf.concat([[False], blank[:-1]], 0)[: tf.size(points)]
            kept = tf.where(~blank)[:, 0]
            points, piece_of, added, begins = (tf.gather(values, kept) for values in (points, piece_of, added, begins))
        points = tf.where((points == _SPACE) & ~added, self._sign, points)
        is_sign = (points == self._sign) & ~added
        begins |= is_sign & self._splits_at_sign
        lacks_sign = begins & ~is_sign & ~added & self._prepends
        # Every character moves by the signs that are put in before it, its own among them.
        places = tf.range(tf.size(points, tf.int64)) + tf.cumsum(tf.cast(lacks_sign, tf.int64))
        size = tf.size(points, tf.int64) + tf.math.count_nonzero(lacks_sign)
        points = tf.tensor_scatter_nd_update(tf.fill([size], self._sign), places[:, None], points)
        starts = tf.where(begins)[:, 0]
        splits = tf.concat([tf.gather(places - tf.cast(lacks_sign, tf.int64), starts), [size]], 0)
        return points, splits, tf.gather(piece_of, starts)
