"""Unicode's canonical composition in the graph: a letter and its marks to one character.

The algorithm is that of the Unicode Standard, section 3.11. Its pairs are asked of the fast tokenizers' own normalizer,
because tensorflow-text has an older edition of Unicode.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.normalization.character_normalizer import (
    CharacterNormalizer,
    NormalForms,
    normal_forms,
)
from serving.graph.tokenizers.tables import CodePointTable, hash_table

# No character has it in its normal form.
_SEPARATOR = "\ue000"


class Forms(NamedTuple):
    """What composition knows of characters.

    Attributes:
        decomposed: The tables of decomposition, with the rank of each combining character; others have none.
        composed: What two characters compose to, all three as code points.
        stable: The characters of which a text may consist, in any order, and be in composed form.
    """

    decomposed: NormalForms
    composed: dict[tuple[int, int], int]
    stable: set[int]


@functools.cache
def forms() -> Forms:
    """What the fast tokenizers' normalizers NFC and NFD do."""
    from tokenizers.normalizers import NFC, NFD

    decomposed = normal_forms(NFD(), _SEPARATOR)
    candidates = [
        (point, form)
        for point, form in enumerate(decomposed.forms)
        if len(form) > 1 and point not in code_points.SURROGATES
    ]
    # All but the last character of a decomposition are one character where the last one composes with it.
    firsts = NFC().normalize_str(_SEPARATOR.join(form[:-1] for _, form in candidates)).split(_SEPARATOR)
    wholes = NFC().normalize_str(_SEPARATOR.join(form for _, form in candidates)).split(_SEPARATOR)
    composed = {
        (ord(first), ord(form[-1])): point
        for (point, form), first, whole in zip(candidates, firsts, wholes, strict=True)
        if whole == chr(point) and len(first) == 1
    }
    made = {*composed.values(), *(second for _, second in composed), *decomposed.order}
    stable = {point for point, form in enumerate(decomposed.forms) if form == chr(point) and point not in made}
    return Forms(decomposed, composed, stable | {*composed.values()} - {second for _, second in composed})


class NFC(tf.Module):
    """Decomposes, puts combining characters into their order, and composes."""

    def __init__(self) -> None:
        super().__init__()
        may_change = np.ones(code_points.NUMBER_OF_CODE_POINTS, np.int32)
        may_change[list(forms().stable)] = 0
        self._may_change = CodePointTable(may_change)
        self._decompose = CharacterNormalizer(forms().decomposed)
        self._compose = Composition()

    def __call__(self, points: tf.Tensor, piece_of: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Normalizes characters (characters,) int32 of pieces (characters,) int64; others of both."""
        return tf.cond(
            tf.reduce_any(self._may_change(points) != 0),
            lambda: self._compose(*self._decompose(points, piece_of, tf.zeros_like(points, tf.bool))),
            lambda: (points, piece_of),
        )


class Composition(tf.Module):
    """Composes characters of text that is decomposed and in order."""

    def __init__(self) -> None:
        super().__init__()
        decomposed, composed, _ = forms()
        order = decomposed.order
        keys = np.array([_pair(first, second) for first, second in composed], np.int64)
        self._composed = hash_table(keys, list(composed.values()), -1)
        ranks, seconds = np.zeros((2, code_points.NUMBER_OF_CODE_POINTS), np.int32)
        ranks[list(order)] = list(order.values())
        seconds[[second for _, second in composed]] = 1
        self._ranks, self._seconds = CodePointTable(ranks), CodePointTable(seconds)

    def __call__(self, points: tf.Tensor, piece_of: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Composes.

        Args:
            points: (characters,) int32, in canonical decomposition.
            piece_of: (characters,) int64, the piece of each.

        Returns:
            Characters (others,) int32, and the piece of each (others,) int64.
        """

        def turn(
            points: tf.Tensor, piece_of: tf.Tensor, passed: tf.Tensor, _: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
            """Composes each letter with the first mark that it composes with, of those not `passed` yet."""
            place = tf.range(tf.size(points, tf.int64))
            rank = self._ranks(points)
            first = tf.concat([[True], piece_of[1:] != piece_of[:-1]], 0)
            starter = first | (rank == 0)
            group = tf.cumsum(tf.cast(starter, tf.int64)) - 1
            bases = tf.where(starter)[:, 0]
            base = tf.gather(bases, group)
            # A character of rank 0 composes with the one before it, if nothing stands between.
            before = tf.where(rank == 0, tf.concat([[0], base[:-1]], 0), base)
            is_next = before == place - 1
            same_rank = tf.concat([[False], rank[1:] == rank[:-1]], 0)
            open_ = ~first & (is_next | ((rank > 0) & ~same_rank)) & (tf.gather(self._ranks(points), before) == 0)
            key = _pair(tf.cast(tf.gather(points, before), tf.int64), tf.cast(points, tf.int64))
            made = tf.cast(self._composed.lookup(tf.where(open_, key, -1)), tf.int32)
            joins = (made >= 0) & ~passed
            # What is joined to the character before it has to wait with its own marks.
            joins &= ~tf.gather(joins & (rank == 0), before)
            winner = tf.math.unsorted_segment_min(
                tf.where(joins, place, tf.int64.max), before, tf.size(points, tf.int64)
            )
            mine = tf.gather(winner, before)
            joins &= place == mine
            passed |= (place < mine) & (mine != tf.int64.max) & ~starter
            points = tf.tensor_scatter_nd_update(
                points, tf.boolean_mask(before, joins)[:, None], tf.boolean_mask(made, joins)
            )
            kept = tf.where(~joins)[:, 0]
            points, piece_of, passed = (tf.gather(values, kept) for values in (points, piece_of, passed))
            return points, piece_of, passed, tf.reduce_any(joins)

        points, piece_of, _, _ = tf.while_loop(
            lambda points, piece_of, passed, goes_on: goes_on,
            turn,
            (points, piece_of, tf.zeros_like(points, tf.bool), tf.reduce_any(self._seconds(points) != 0)),
            shape_invariants=(tf.TensorShape([None]),) * 3 + (tf.TensorShape([]),),
        )
        return points, piece_of


def _pair(first: int | tf.Tensor, second: int | tf.Tensor) -> int | tf.Tensor:
    return first * code_points.NUMBER_OF_CODE_POINTS + second
