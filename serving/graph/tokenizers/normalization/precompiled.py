"""SentencePiece's character map in the graph, applied as the fast tokenizers apply it.

Kudo and Richardson, "SentencePiece" (2018), normalize with the longest key that a text begins with. The fast
tokenizers go by grapheme clusters instead. A cluster of under six bytes that begins with a key is replaced whole by the
replacement of its shortest key, marks after the key included. In any other cluster each character that is a key is
replaced.
"""

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.normalization.character_normalizer import CharacterForms
from serving.graph.tokenizers.normalization.graphemes import Graphemes
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import repeat
from serving.graph.tokenizers.tables import CodePointTable, hash_table

_LONGEST_CLUSTER = 5
"""Bytes of a cluster that is looked at as a whole."""


class Precompiled(tf.Module):
    """Replaces characters and pairs of them.

    Args:
        replacements: By key, as `charsmap.read` gives them.

    Raises:
        ModelError: If a key is of a kind that no real character map has.
    """

    def __init__(self, replacements: dict[str, str]) -> None:
        super().__init__()
        keys = {key: text for key, text in replacements.items() if len(key) == 1 or _size(key) <= _LONGEST_CLUSTER}
        longest = max(keys, key=len, default="")
        if len(longest) > 2:
            raise refusal(f"a character map with the key {longest!r}")
        forms = [keys.get(chr(point), chr(point)) for point in range(code_points.NUMBER_OF_CODE_POINTS)]
        self._forms = CharacterForms(forms, ["", *keys.values()])
        self._clusters = Graphemes()
        pairs = [key for key in keys if len(key) == 2]
        self._pairs = hash_table(
            np.array([_pair(*map(ord, pair)) for pair in pairs], np.int64),
            [self._forms.number[keys[pair]] for pair in pairs],
            0,
        )
        # Whether a character that stays where it is alone can begin a cluster that is replaced.
        self._is_key = CodePointTable([chr(point) in keys for point in range(len(forms))])

    def __call__(self, points: tf.Tensor, piece_of: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Normalizes.

        Args:
            points: (characters,) int32.
            piece_of: (characters,) int64, the piece of each.

        Returns:
            Characters (others,) int32, and the piece of each (others,) int64.
        """
        numbers = self._forms.numbers(points)
        numbers = tf.cond(
            self._clusters.may_join(points),
            lambda: self._numbers_in_clusters(points, piece_of, numbers),
            lambda: numbers,
        )

        def replaced() -> tuple[tf.Tensor, tf.Tensor]:
            normal, source = self._forms.replace(points, numbers)
            return normal, tf.gather(piece_of, source)

        return tf.cond(tf.reduce_any(numbers != 0), replaced, lambda: (points, piece_of))

    def _numbers_in_clusters(self, points: tf.Tensor, piece_of: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        """The number of each character's string (characters,) int32, whole clusters considered."""
        first = tf.concat([[True], piece_of[1:] != piece_of[:-1]], 0)
        starts = tf.where(self._clusters.starts(points, first))[:, 0]
        lengths = tf.concat([starts[1:], [tf.size(points, tf.int64)]], 0) - starts
        sizes = 1 + sum(tf.cast(points >= limit, tf.int64) for limit in (0x80, 0x800, 0x10000))
        bytes_before = tf.concat([[0], tf.cumsum(sizes)], 0)
        short = (lengths > 1) & (
            tf.gather(bytes_before, starts + lengths) - tf.gather(bytes_before, starts) <= _LONGEST_CLUSTER
        )
        starts, lengths = tf.boolean_mask(starts, short), tf.boolean_mask(lengths, short)
        begin = tf.gather(points, starts)
        pair = self._pairs.lookup(_pair(tf.cast(begin, tf.int64), tf.cast(tf.gather(points, starts + 1), tf.int64)))
        alone = self._is_key(begin) != 0
        whole = tf.where(alone, tf.gather(numbers, starts), tf.cast(pair, tf.int32))
        replaced = alone | (pair != 0)
        starts, lengths = tf.boolean_mask(starts, replaced), tf.boolean_mask(lengths, replaced)
        # The first character gets the replacement of all, the others nothing.
        rest = repeat(starts, lengths - 1)
        offset = tf.range(tf.size(rest, tf.int64)) - repeat(tf.cumsum(lengths - 1, exclusive=True), lengths - 1)
        places = tf.concat([starts, rest + 1 + offset], 0)
        values = tf.concat([tf.boolean_mask(whole, replaced), tf.fill(tf.shape(rest), self._forms.number[""])], 0)
        return tf.tensor_scatter_nd_update(numbers, places[:, None], values)


def _pair(first: int | tf.Tensor, second: int | tf.Tensor) -> int | tf.Tensor:
    return first * code_points.NUMBER_OF_CODE_POINTS + second


def _size(text: str) -> int:
    return len(text.encode())
