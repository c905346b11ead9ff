"""Finds in a text, at every character at once, the pieces of a vocabulary that begin there."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.tables import hash_table

# A code point has 21 bits and a factor 36, so that the sum of 32 products fits into an int64.
_LONGEST_PIECE = 32
_FACTOR_BITS = 36
NO_PIECE = -1


class PieceTable(tf.Module):
    """Pieces by their characters.

    Every substring of up to `width` characters has a number, the sum of its code points each times the factor of its
    place. A table by that number names the one piece that the substring can be, and its characters are compared.

    Args:
        pieces: Distinct strings, none empty.

    Attributes:
        width: Characters of the longest piece.

    Raises:
        ModelError: If a piece is too long.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        super().__init__()
        self.width = max(map(len, pieces))
        if self.width > _LONGEST_PIECE:
            raise refusal(f"a vocabulary with a piece of {self.width} characters")
        lengths = np.array([len(piece) for piece in pieces], np.int64)
        starts = np.cumsum(lengths) - lengths
        points = np.fromiter((ord(character) for piece in pieces for character in piece), np.int64)
        places = np.arange(len(points)) - np.repeat(starts, lengths)
        generator = np.random.default_rng(0)
        while True:
            factors = generator.integers(1 << (_FACTOR_BITS - 1), 1 << _FACTOR_BITS, self.width)
            numbers = np.add.reduceat((points + 1) * factors[places], starts)
            if len(np.unique(numbers)) == len(pieces):
                break
        self._factors = tf.constant(factors)
        self._table = hash_table(numbers, np.arange(len(pieces)), NO_PIECE)
        self._starts = tf.constant(starts)
        # Padded, because every piece is read as if it were the longest.
        self._points = tf.constant(np.pad(points, (0, self.width)), tf.int32)

    def __call__(self, points: tf.Tensor, left: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds pieces.

        Args:
            points: (characters,) int32.
            left: (characters,) int64, how many characters the word has from each on.

        Returns:
            (found, 2) int64, the character where a piece begins and the piece's length less one; and (found,) int64,
            the piece's index.
        """
        place = tf.range(self.width, dtype=tf.int64)
        inside = place < left[:, None]  # (characters, width)
        padded = tf.pad(points, [[0, self.width]])
        windows = tf.gather(padded, tf.range(tf.size(points, tf.int64))[:, None] + place)
        numbers = tf.cumsum(tf.cast(windows + 1, tf.int64) * self._factors, axis=1)
        candidates = self._table.lookup(tf.where(inside, numbers, 0))
        found = tf.where(candidates != NO_PIECE)
        pieces = tf.gather_nd(candidates, found)
        theirs = tf.gather(self._points, tf.gather(self._starts, pieces)[:, None] + place)  # (found, width)
        same = (theirs == tf.gather(windows, found[:, 0])) | (place > found[:, 1:])
        equal = tf.reduce_all(same, axis=1)
        return tf.boolean_mask(found, equal), tf.boolean_mask(pieces, equal)
