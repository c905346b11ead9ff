"""The merges of byte-pair encoding in the graph, of all words of a batch at once.

Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import repeat
from serving.graph.tokenizers.tables import hash_table

# The largest int64: the value of a pair that no merge joins.
_NO_MERGE = np.iinfo(np.int64).max


class Merges(tf.Module):
    """Joins pairs of tokens, always the pair of lowest rank in a word, and of equal ones the leftmost.

    In each turn every word, or stretch of a very long word, joins its pairs of lowest rank.

    A word of 100,000 letters has thousands of different pairs, and a turn for each would take a minute. But what is
    merged far away doesn't matter: no token is longer than the longest one, so a pair is joined before its neighbors
    are, if no pair of lower rank stands within that length of it. If what it becomes may itself have a lower rank with
    its neighbors, nothing else may be joined within twice that length before. So in a stretch of twice or three times
    that length the pairs of lowest rank are joined if the stretches beside it have no lower one.

    Args:
        model: `model` of a `tokenizer.json`, of type BPE.

    Raises:
        ModelError: If the model has an option that the graph lacks.
    """

    def __init__(self, model: Mapping[str, Any]) -> None:
        super().__init__()
        for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
            if model.get(option):
                raise refusal(f"a BPE with {option}")
        vocabulary: dict[str, int] = model["vocab"]
        self._size = max(vocabulary.values()) + 1
        merges = pairs_of(model)
        pairs = {(vocabulary[left], vocabulary[right]): rank for rank, (left, right) in enumerate(merges)}
        joined = {(vocabulary[left], vocabulary[right]): vocabulary[left + right] for left, right in merges}
        self._in_order = ranks_rise(pairs, joined)
        self._stretch = (2 if self._in_order else 3) * max((len(left + right) for left, right in merges), default=1)
        # Rank and joined id in one number, so that the lowest number is the lowest rank.
        self._values = hash_table(
            np.array([left * self._size + right for left, right in pairs], np.int64),
            np.array([rank * self._size + joined[pair] for pair, rank in pairs.items()], np.int64),
            _NO_MERGE,
        )

    def __call__(self, ids: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges until nothing can be merged.

        Args:
            ids: (parts,) int64, the token of every byte or character, one word after the other.
            lengths: (words,) int64, the parts of each word.

        Returns:
            Token ids (tokens,) int64, and the word of each (tokens,) int64.
        """
        return tf.cond(
            tf.reduce_any(lengths > self._stretch),
            lambda: self._merge(ids, lengths, in_stretches=True),
            lambda: self._merge(ids, lengths, in_stretches=False),
        )

    def _merge(self, ids: tf.Tensor, lengths: tf.Tensor, in_stretches: bool) -> tuple[tf.Tensor, tf.Tensor]:
        word_of = repeat(tf.range(tf.size(lengths, tf.int64)), lengths)
        stretches = Stretches(lengths, word_of, self._stretch if in_stretches else None)

        def turn(ids: tf.Tensor, word_of: tf.Tensor, values: tf.Tensor, *parts: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # Each operation here costs a text about a microsecond a turn.
            (stretch_of,) = parts or (word_of,)
            best = tf.math.unsorted_segment_min(values, stretch_of, stretches.number)
            joins = (values == tf.gather(best, stretch_of)) & (values != _NO_MERGE)
            if not self._in_order:
                joins = stretches.in_turn(joins, self._may_go_on(joins, ids, word_of, values), stretch_of, best)
            elif in_stretches:
                joins &= tf.gather(stretches.are_lowest(best), stretch_of)
            if in_stretches:
                joins &= _from_the_left(joins, values)
            joins = _every_second(joins)
            ids = tf.where(joins, values % self._size, ids)
            kept = tf.squeeze(tf.where(~_shifted(joins)), 1)
            ids, word_of, *left = (tf.gather(tensor, kept) for tensor in (ids, word_of, *parts))
            return ids, word_of, self._joinable(ids, word_of), *left

        parts = (stretches.of_parts,) if in_stretches else ()
        ids, word_of, *_ = tf.while_loop(
            lambda ids, word_of, values, *parts: tf.reduce_any(values != _NO_MERGE),
            turn,
            (ids, word_of, self._joinable(ids, word_of), *parts),
            shape_invariants=(tf.TensorShape([None]),) * (3 + len(parts)),
        )
        return ids, word_of

    def _joinable(self, ids: tf.Tensor, word_of: tf.Tensor) -> tf.Tensor:
        """What each token and the next one join to: (tokens,) int64."""
        following = tf.concat([ids[1:], [0]], 0)
        same_word = tf.concat([word_of[1:], [-1]], 0) == word_of
        return self._values.lookup(tf.where(same_word, ids * self._size + following, -1))

    def _may_go_on(self, joins: tf.Tensor, ids: tf.Tensor, word_of: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Whether what a join makes has a pair of lower rank, which then is next: (tokens,) bool, False where no join.

        Its neighbors may be what the same join makes of them.
        """
        places = tf.where(joins)[:, 0]
        value = tf.gather(values, places)
        made, word = value % self._size, tf.gather(word_of, places)
        words = tf.pad(word_of, [[1, 2]], constant_values=-1)
        around = tf.pad(ids, [[1, 2]])
        left = tf.where(tf.gather(words, places) == word, tf.gather(around, places) * self._size + made, -1)
        right = tf.where(tf.gather(words, places + 3) == word, made * self._size + tf.gather(around, places + 3), -1)
        pairs = tf.stack([left, right, made * self._size + made])
        goes_on = tf.reduce_any(self._values.lookup(pairs) < value, 0)
        return tf.tensor_scatter_nd_update(tf.zeros_like(joins), places[:, None], goes_on)


class Stretches:
    """The words of a batch, or where one is long, stretches of them.

    Args:
        lengths: (words,) int64, the parts of each word.
        word_of: (parts,) int64.
        longest: The parts of a stretch; None for whole words.

    Attributes:
        number: () int64.
        of_parts: (parts,) int64, the stretch of each part.
    """

    def __init__(self, lengths: tf.Tensor, word_of: tf.Tensor, longest: int | None) -> None:
        self.number, self.of_parts = tf.size(lengths, tf.int64), word_of
        self._alike: tf.Tensor | None = None
        if longest is not None:
            counts = (lengths + longest - 1) // longest
            offset = tf.range(tf.size(word_of, tf.int64)) - tf.gather(tf.cumsum(lengths, exclusive=True), word_of)
            self.of_parts = tf.gather(tf.cumsum(counts, exclusive=True), word_of) + offset // longest
            word_of_stretch = repeat(tf.range(self.number), counts)
            self.number = tf.reduce_sum(counts)
            # Whether a stretch and the next one are of one word.
            self._alike = tf.concat([word_of_stretch[1:] == word_of_stretch[:-1], [False]], 0)

    def are_lowest(self, best: tf.Tensor) -> tf.Tensor:
        """Whether the lowest value of each stretch (stretches,) int64 is as low as those beside: (stretches,) bool."""
        after = tf.where(self._alike, tf.concat([best[1:], [_NO_MERGE]], 0), _NO_MERGE)
        before = tf.where(_shifted(self._alike), tf.concat([[_NO_MERGE], best[:-1]], 0), _NO_MERGE)
        return best <= tf.minimum(before, after)

    def in_turn(self, joins: tf.Tensor, goes_on: tf.Tensor, stretch_of: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
        """Of equal joins, those that come before the first one after which a lower pair is next, and that one.

        Args:
            joins: (tokens,) bool, the pairs of lowest value of each stretch.
            goes_on: (tokens,) bool, whether such a join makes a pair of lower value.
            stretch_of: (tokens,) int64.
            best: (stretches,) int64, the lowest value of each stretch.

        Returns:
            (tokens,) bool.
        """
        before = tf.cumsum(tf.cast(goes_on, tf.int64), exclusive=True)
        joins &= before == tf.gather(tf.math.unsorted_segment_min(before, stretch_of, self.number), stretch_of)
        if self._alike is None:
            return joins
        lowest = self.are_lowest(best)
        stops = ~lowest | (tf.math.unsorted_segment_max(tf.cast(goes_on, tf.int32), stretch_of, self.number) > 0)
        # A stretch waits for those before it in a row of stretches of the same lowest value.
        begins = ~_shifted(self._alike) | (best != tf.concat([[_NO_MERGE], best[:-1]], 0))
        before = tf.cumsum(tf.cast(stops, tf.int64), exclusive=True)
        begin = tf.gather(tf.where(begins)[:, 0], tf.cumsum(tf.cast(begins, tf.int64)) - 1)
        return joins & tf.gather(lowest & (before == tf.gather(before, begin)), stretch_of)


def pairs_of(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges of a `tokenizer.json`'s model, in the order of their ranks; older files have each as one string."""
    merges = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right) for left, right in merges]


def ranks_rise(pairs: Mapping[tuple[int, int], int], joined: Mapping[tuple[int, int], int]) -> bool:
    """Whether every merge ranks after all merges that make one of its two parts.

    Then joining all pairs of lowest rank in a word at once gives what joining the leftmost one, again and again,
    gives: what is joined can't form a pair of lower rank. Every merge list that training made in order has this
    property, as long as no token can be made in two ways.
    """
    last_made: dict[int, int] = {}
    for pair, rank in pairs.items():
        last_made[joined[pair]] = max(rank, last_made.get(joined[pair], -1))
    return all(last_made.get(part, -1) < rank for pair, rank in pairs.items() for part in pair)


def _every_second(joins: tf.Tensor) -> tf.Tensor:
    """Of neighboring joins, which would share a token, keeps the first, third and so on: (tokens,) bool."""
    index = tf.range(tf.size(joins, tf.int64))
    begins = joins & ~_shifted(joins)
    begin = tf.gather(tf.concat([[0], tf.squeeze(tf.where(begins), 1)], 0), tf.cumsum(tf.cast(begins, tf.int32)))
    return joins & ((index - begin) % 2 == 0)


def _shifted(values: tf.Tensor) -> tf.Tensor:
    """The value (n,) bool before each, False before the first."""
    return tf.concat([[False], values[:-1]], 0)


def _from_the_left(joins: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Whether the same join, if it stands in a row of them, is done at all places before in the row: (tokens,) bool."""
    begins = tf.concat([[True], values[1:] != values[:-1]], 0)
    left_out = tf.cumsum(tf.cast(~joins, tf.int64))
    begin = tf.gather(tf.where(begins)[:, 0], tf.cumsum(tf.cast(begins, tf.int64)) - 1)
    return joins & (left_out == tf.gather(left_out, begin)) & tf.gather(joins, begin)
