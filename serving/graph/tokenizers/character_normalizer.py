"""A normalizer that looks at one character at a time, in the graph."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.normal_forms import NormalForms
from serving.graph.tokenizers.segments import repeat


class CharacterForms(tf.Module):
    """Puts strings in the place of characters.

    Args:
        forms: The string of every code point: 0x110000 of them, a character itself where it stays.
        more: Strings that a character gets for other reasons.

    Attributes:
        number: The number by which a string is called.
    """

    def __init__(self, forms: Sequence[str], more: Sequence[str] = ()) -> None:
        super().__init__()
        stays = [form == chr(point) for point, form in enumerate(forms)]
        changed = {form for form, stay in zip(forms, stays, strict=True) if not stay}
        # Number 0 stands for a character that stays as it is.
        distinct = sorted({*changed, *more})
        self.number = {form: index for index, form in enumerate(distinct, 1)}
        self._numbers = code_points.CodePointTable(
            [0 if stay else self.number[form] for stay, form in zip(stays, forms, strict=True)]
        )
        lengths = np.array([1, *map(len, distinct)], np.int64)
        self._lengths = tf.constant(lengths)
        self._starts = tf.constant(np.cumsum(lengths) - lengths)
        self._points = tf.constant([0, *(ord(character) for form in distinct for character in form)], tf.int32)

    def numbers(self, points: tf.Tensor) -> tf.Tensor:
        """The number of each character's string: (characters,) int32, like the characters."""
        return self._numbers(points)

    def replace(self, points: tf.Tensor, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Puts strings in the place of characters.

        Args:
            points: (characters,) int32.
            numbers: (characters,) int32, of the string for each.

        Returns:
            The new characters (others,) int32, and the old one that each comes from (others,) int32.
        """
        lengths = tf.gather(self._lengths, numbers)
        total = tf.cumsum(lengths)
        source = repeat(tf.range(tf.size(points)), lengths)
        offset = tf.range(tf.size(source, tf.int64)) - tf.gather(total - lengths, source)
        numbers = tf.gather(numbers, source)
        replaced = tf.gather(self._points, tf.gather(self._starts, numbers) + offset)
        return tf.where(numbers == 0, tf.gather(points, source), replaced), source


class CharacterNormalizer(tf.Module):
    """Normalizes characters, and puts combining ones into their order.

    Args:
        normal_forms: What the fast tokenizer's normalizer does.
    """

    def __init__(self, normal_forms: NormalForms) -> None:
        super().__init__()
        self._forms = CharacterForms(normal_forms.forms)
        self._reorders = bool(normal_forms.order)
        ranks = np.zeros(code_points.NUMBER_OF_CODE_POINTS, np.int32)
        ranks[list(normal_forms.order)] = list(normal_forms.order.values())
        self._order = code_points.CodePointTable(ranks)
        borders = np.zeros(code_points.NUMBER_OF_CODE_POINTS, np.int32)
        borders[list(normal_forms.borders)] = 1
        self._borders = code_points.CodePointTable(borders)

    def __call__(self, points: tf.Tensor, piece_of: tf.Tensor, stays: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Normalizes.

        Args:
            points: (characters,) int32.
            piece_of: (characters,) int64, the piece of each.
            stays: (characters,) bool, whether a character is left as it is.

        Returns:
            Characters (others,) int32, and the piece of each (others,) int64.
        """
        normal, source = self._forms.replace(points, tf.where(stays, 0, self._forms.numbers(points)))
        piece_of = tf.gather(piece_of, source)
        if not self._reorders:
            return normal, piece_of
        rank = tf.where(tf.gather(stays, source), 0, self._order(normal))
        follows = (piece_of[1:] == piece_of[:-1]) & (rank[1:] > 0) & (rank[:-1] > rank[1:])

        def reordered() -> tf.Tensor:
            first = tf.concat([[True], piece_of[1:] != piece_of[:-1]], 0)
            borders = tf.cumsum(tf.cast(tf.where(stays, 0, self._borders(points)), tf.int64))
            run = tf.cumsum(tf.cast((rank == 0) | first, tf.int64)) + tf.gather(borders, source)
            return tf.gather(normal, tf.argsort(run * 256 + tf.cast(rank, tf.int64), stable=True))

        return tf.cond(tf.reduce_any(follows), reordered, lambda: normal), piece_of
