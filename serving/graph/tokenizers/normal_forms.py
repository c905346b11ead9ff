"""What a normalizer that looks at one character at a time makes of each, asked of the fast tokenizer's own.

But for one thing such a normalizer is a table over all code points: decomposition puts combining characters into the
order of their combining classes.
"""

import functools
import unicodedata
from typing import Any, NamedTuple

import numpy as np

from serving.graph.tokenizers import code_points

# Combining characters that aren't accents, of classes 226, 224 and 6.
_COMBINING = ("\U0001d16d", "\u302e", "\U00016ff0")


class NormalForms(NamedTuple):
    """A normalizer as tables.

    Attributes:
        forms: The normal form of every code point: 0x110000 strings, those of surrogates empty.
        order: The rank, from 1, of each character that decomposition moves; equal ranks keep their order.
        borders: The characters that the normalizer drops only after nothing could move past them.
    """

    forms: list[str]
    order: dict[int, int]
    borders: set[int]


def normal_forms(normalizer: Any, separator: str) -> NormalForms:
    """Asks a normalizer.

    Args:
        normalizer: Of `tokenizers.normalizers`.
        separator: A character that it leaves as it is, and that is in no other character's normal form.
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
