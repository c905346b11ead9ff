"""Which characters stand in one extended grapheme cluster, as the fast tokenizers see it.

The rules are those of Unicode's Standard Annex 29, "Unicode Text Segmentation". The edition of Unicode is the
tokenizers library's: each property is found out by probing its normalizer `Precompiled`, the only part that looks at
clusters. That normalizer replaces a whole cluster of under six bytes that begins with a key. So where the mark at the
end of a probe is gone, a cluster began at the key before it, and where the mark is still there, it began earlier.
"""

import functools

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.normalization import charsmap
from serving.graph.tokenizers.tables import CodePointTable

_EXTENDS, _CONTROL, _PREPENDS, _L, _V, _T, _LV, _LVT, _PICTURE, _WITHIN_PICTURES, _CONSONANT, _LINKER, _LINKS = (
    1 << bit for bit in range(13)
)
_CR, _LF, _JOINER = 0x0D, 0x0A, 0x200D
# No other code point is assigned, but for ideographs and private use, which are of no class.
_PROBED = (*range(0x20000), *range(0xE0000, 0xE1000))
_REPLACEMENT = "."
_SYLLABLES = range(0xAC00, 0xD7A4)
_MARK, _OTHER_MARK = "\u0301", "\u0302"
_PICTURE_SIGN = "\u00a9"
_KA, _VIRAMA, _SSA = "\u0915", "\u094d", "\u0937"
_MEDIAL, _FINAL = "\u1161", "\u11a8"


@functools.cache
def properties() -> np.ndarray:
    """The bits of every code point that decide where clusters begin: (0x110000,) int32."""
    points = [point for point in _PROBED if point not in (_LF, *code_points.SURROGATES)]

    def joins(template: str, replaced: str) -> np.ndarray:
        return np.array([part.endswith(template[-1]) for part in _normalized(points, template, replaced)])

    extends = np.array([part == _REPLACEMENT for part in _normalized(points, "a{}", "a")])
    control = ~joins("{}" + _MARK + _OTHER_MARK, _MARK)
    # What is joined to a letter is joined to anything.
    prepends = joins("{}a" + _MARK, "a")
    medial, final = joins("{}" + _MEDIAL + _MARK, _MEDIAL), joins("{}" + _FINAL + _MARK, _FINAL)
    syllable = np.isin(points, _SYLLABLES)
    picture = joins("{}\u200d" + _PICTURE_SIGN + _MARK, _PICTURE_SIGN)
    within_pictures = joins(_PICTURE_SIGN + "{}\u200d" + _PICTURE_SIGN + _MARK, _PICTURE_SIGN)
    consonant = joins("{}" + _VIRAMA + _SSA + _MARK, _SSA)
    linker = joins(_KA + "{}" + _SSA + _MARK, _SSA)
    links = joins(_KA + "{}" + _VIRAMA + _SSA + _MARK, _SSA)
    base = ~prepends & ~extends
    bits = np.zeros(code_points.NUMBER_OF_CODE_POINTS, np.int32)
    bits[points] = sum(
        has.astype(np.int32) * bit
        for has, bit in (
            (extends, _EXTENDS),
            (control, _CONTROL),
            (prepends, _PREPENDS),
            (base & medial & ~final, _L),
            (base & medial & final & ~syllable, _V),
            (base & medial & final & syllable, _LV),
            (base & ~medial & final & ~syllable, _T),
            (base & ~medial & final & syllable, _LVT),
            (base & picture, _PICTURE),
            (extends & within_pictures, _WITHIN_PICTURES),
            (base & consonant, _CONSONANT),
            (extends & linker, _LINKER),
            (extends & links, _LINKS),
        )
    )
    bits[_LF] = _CONTROL
    return bits


def _normalized(points: list[int], template: str, replaced: str) -> list[str]:
    """What is made of a template with each code point in it, where one character alone is replaced."""
    from tokenizers.normalizers import Precompiled

    normalizer = Precompiled(charsmap.write({replaced: _REPLACEMENT}))
    probe = normalizer.normalize_str("\n".join(template.format(chr(point)) for point in points))
    return probe.split("\n")


class Graphemes(tf.Module):
    """Finds where clusters begin."""

    def __init__(self) -> None:
        super().__init__()
        self._bits = CodePointTable(properties())

    def may_join(self, points: tf.Tensor) -> tf.Tensor:
        """Whether there may be a cluster of under six bytes and over one character: () bool, from (characters,) int32.

        Jamos, pictures and consonants that are joined have three bytes each, or a joiner of three.
        """
        line_breaks = (points[:-1] == _CR) & (points[1:] == _LF)
        return tf.reduce_any(_has(self._bits(points), _EXTENDS | _PREPENDS)) | tf.reduce_any(line_breaks)

    def starts(self, points: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        """Whether a cluster begins at each character.

        Regional indicators, which stand in pairs, count as others here: a cluster that has one and another character
        is six bytes long anyway.

        Args:
            points: (characters,) int32.
            first: (characters,) bool, whether a text begins here.

        Returns:
            (characters,) bool.
        """
        bits = self._bits(points)
        before = tf.concat([tf.zeros_like(bits[:1]), bits[:-1]], 0)
        syllable = (
            (_has(before, _L) & _has(bits, _L | _V | _LV | _LVT))
            | (_has(before, _LV | _V) & _has(bits, _V | _T))
            | (_has(before, _LVT | _T) & _has(bits, _T))
        )
        # A picture, marks, a joiner, this picture.
        pictures = _gather_base(_has(bits, _PICTURE), _has(bits, _WITHIN_PICTURES) & ~first)
        after_joiner = tf.concat([[False], points[:-1] == _JOINER], 0)[: tf.size(points)]
        # The joiner itself mustn't begin a text.
        after_joiner &= ~tf.concat([[True], first[:-1]], 0)[: tf.size(points)]
        picture = _has(bits, _PICTURE) & after_joiner & tf.concat([[False, False], pictures[:-2]], 0)[: tf.size(points)]
        # A consonant, marks with a linker among them, this consonant.
        links = _has(bits, _LINKER | _LINKS) & ~first
        linkers = tf.cumsum(tf.cast(_has(bits, _LINKER), tf.int32))
        linked = _gather_base(_has(bits, _CONSONANT), links) & (linkers > _gather_base(linkers, links))
        consonant = _has(bits, _CONSONANT) & tf.concat([[False], linked[:-1]], 0)[: tf.size(points)]
        joined = _has(bits, _EXTENDS) | _has(before, _PREPENDS) | syllable | picture | consonant
        joined &= ~_has(bits, _CONTROL) & ~_has(before, _CONTROL)
        joined |= tf.concat([[False], points[:-1] == _CR], 0)[: tf.size(points)] & (points == _LF)
        return first | ~joined


def _has(bits: tf.Tensor, wanted: int) -> tf.Tensor:
    return tf.bitwise.bitwise_and(bits, wanted) != 0


def _gather_base(values: tf.Tensor, follows: tf.Tensor) -> tf.Tensor:
    """The value (n,) at the last place, up to each, that doesn't follow (n,) bool another one."""
    bases = tf.where(~follows)[:, 0]
    return tf.gather(tf.gather(values, bases), tf.cumsum(tf.cast(~follows, tf.int32)) - 1)
