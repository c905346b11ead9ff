"""A normalizer that looks at one character at a time: as tables, and in the graph.

Such a normalizer is a table over all code points, but for one thing: decomposition puts combining characters into the
order of their combining classes. The table is read off the fast tokenizer's own normalizer.
"""

import functools
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.segments import repeat
from serving.graph.tokenizers.tables import CodePointTable

# Combining characters that aren't accents, of classes 226, 224 and 6.
_COMBINING = ("\U0001d16d", "\u302e", "\U00016ff0")


class NormalForms(NamedTuple):
    """A normalizer as tables.

    Attributes:
        forms: The normal form of every code point: 0x110000 strings, those of surrogates empty.
        order: The rank, from 1, of each character that decomposition moves; equal ranks keep their order.
        borders: The characters that the normalizer drops only after it has ordered the combining characters, so that
            none of those has moved past them.
    """

    forms: list[str]
    order: dict[int, int]
    borders: set[int]


def normal_forms(normalizer: Any, separator: str) -> NormalForms:
    """Reads a normalizer into tables, by having it normalize every character.

    Args:
        normalizer: One of `tokenizers.normalizers`.
        separator: A character that it leaves unchanged, and that is in no other character's normal form.
    """
    forms = [""] * code_points.NUMBER_OF_CODE_POINTS
    points = [point for point in code_points.scalar_values() if chr(point) != separator]
    for start in range(0, len(points), 1 << 16):
        part = points[start : start + (1 << 16)]
        probe = normalizer.normalize_str(separator.join(map(chr, part)))
        for point, form in zip(part, probe.split(separator), strict=True):
            forms[point] = form
    forms[ord(separator)] = separator
    order = _combining_order(normalizer, forms)
    return NormalForms(forms, order, _borders(normalizer, forms, separator) if order else set())


def bert_normal_forms(settings: Mapping[str, Any]) -> NormalForms:
    """What BERT's normalizer makes of each character.

    tensorflow-text has a BERT normalizer too, with another edition of Unicode.

    Args:
        settings: `normalizer` of a `tokenizer.json`: clean_text, handle_chinese_chars, strip_accents and lowercase.
    """
    return _bert_normal_forms(**{name: value for name, value in settings.items() if name != "type"})


@functools.cache
def _bert_normal_forms(**options: bool | None) -> NormalForms:
    from tokenizers.normalizers import BertNormalizer

    # No character decomposes into a digit: BERT's decomposition is the canonical one.
    return normal_forms(BertNormalizer(**options), separator="0")


class CharacterForms(tf.Module):
    """Puts strings in the place of characters.

    Args:
        forms: The string for every code point, 0x110000 of them; the character itself where it stays.
        more: Further strings that `replace` may be told to put in.

    Attributes:
        number: The number of each string, as `replace` takes it.
    """

    def __init__(self, forms: Sequence[str], more: Sequence[str] = ()) -> None:
        super().__init__()
        stays = [form == chr(point) for point, form in enumerate(forms)]
        changed = {form for form, stay in zip(forms, stays, strict=True) if not stay}
        # Number 0 stands for a character that stays as it is.
        distinct = sorted({*changed, *more})
        self.number = {form: index for index, form in enumerate(distinct, 1)}
        self._numbers = CodePointTable(
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
        normal_forms: The tables of the fast tokenizer's normalizer.
    """

    def __init__(self, normal_forms: NormalForms) -> None:
        super().__init__()
        self._forms = CharacterForms(normal_forms.forms)
        self._reorders = bool(normal_forms.order)
        ranks = np.zeros(code_points.NUMBER_OF_CODE_POINTS, np.int32)
        ranks[list(normal_forms.order)] = list(normal_forms.order.values())
        self._order = CodePointTable(ranks)
        borders = np.zeros(code_points.NUMBER_OF_CODE_POINTS, np.int32)
        borders[list(normal_forms.borders)] = 1
        self._borders = CodePointTable(borders)

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


def _combining_order(normalizer: Any, forms: list[str]) -> dict[int, int]:
    # Marks, and what this Python's edition of Unicode doesn't know where later editions add marks.
    kept = [
        chr(point)
        for point in (*range(0x20000), *range(0xE0000, 0xF0000))
        if forms[point] == chr(point) and unicodedata.category(chr(point)) in ("Mn", "Mc", "Me", "Cn")
    ]
    moving: set[str] = set()
    for other in _COMBINING:
        if forms[ord(other)] != other:
            continue
        for template in ("a{0}{1}", "a{1}{0}"):
            probe = "".join(template.format(character, other) for character in kept)
            changed = np.array(list(normalizer.normalize_str(probe))) != np.array(list(probe))
            moved = changed.reshape(-1, 3).any(1)
            moving.update(character for character, is_moved in zip(kept, moved, strict=True) if is_moved)

    def compare(left: str, right: str) -> int:
        if normalizer.normalize_str(left + right) != left + right:
            return 1
        return -1 if normalizer.normalize_str(right + left) != right + left else 0

    ranks: dict[int, int] = {}
    previous, rank = "", 0
    for character in sorted(moving, key=functools.cmp_to_key(compare)):
        rank += not previous or compare(previous, character) != 0
        ranks[ord(character)] = rank
        previous = character
    return ranks


def _borders(normalizer: Any, forms: list[str], separator: str) -> set[int]:
    high, low = _COMBINING[0], _COMBINING[2]
    if normalizer.normalize_str(high + low) != low + high:
        return set()
    dropped = [point for point, form in enumerate(forms) if not form and point not in code_points.SURROGATES]
    probe = normalizer.normalize_str(separator.join(f"{high}{chr(point)}{low}" for point in dropped))
    return {point for point, form in zip(dropped, probe.split(separator), strict=True) if form == high + low}
