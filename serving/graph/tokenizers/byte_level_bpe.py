"""Byte-level byte-pair encoding in the graph (RoBERTa, GPT-2, Longformer, DeBERTa, BART).

Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016), over bytes.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers.byte_level_words import ByteLevelWords
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import fill_in, repeat
from serving.graph.tokenizers.tables import hash_table

# The largest int64: the value of a pair that no merge joins.
_NO_MERGE = np.iinfo(np.int64).max


@functools.cache
def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in of every byte, by stand-in."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(hidden)}


def token_bytes(token: str) -> bytes:
    """The bytes that a token of a byte-level vocabulary stands for.

    A token with a character outside of the alphabet, which only an added token has, stands for its own UTF-8.
    """
    alphabet = byte_alphabet()
    try:
        return bytes(alphabet[character] for character in token)
    except KeyError:
        return token.encode()


class ByteLevelBPE(tf.Module):
    """Turns pieces of text into token ids.

    A word that is one token as it stands is looked up. The others go through one merge loop, all words of the
    batch at once: in each turn every word, or stretch of a very long word, joins its pairs of lowest rank.

    Args:
        model: `model` of a `tokenizer.json`, of type BPE.
        whole_words: Token id by word, for the words of the vocabulary that the tokenizer leaves in one token.
        added: Token id by added token.
        words: The pre-tokenizer.

    Raises:
        ModelError: If the model has an option that the graph lacks.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        whole_words: Mapping[bytes, int],
        added: Mapping[str, int],
        words: ByteLevelWords,
    ) -> None:
        super().__init__()
        for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
            if model.get(option):
                raise refusal(f"a BPE with {option}")
        vocabulary: dict[str, int] = model["vocab"]
        missing = [stand_in for stand_in in byte_alphabet() if stand_in not in vocabulary]
        if missing:
            raise refusal(f"a byte-level vocabulary without {len(missing)} of the 256 bytes")
        self.words = words
        self._size = max(vocabulary.values()) + 1
        merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
        pairs = {(vocabulary[left], vocabulary[right]): rank for rank, (left, right) in enumerate(merges)}
        joined = {(vocabulary[left], vocabulary[right]): vocabulary[left + right] for left, right in merges}
        self._in_order = ranks_rise(pairs, joined)
        self._longest_token = max((len(left + right) for left, right in merges), default=1)
        self._byte_ids = tf.constant(
            [vocabulary[stand_in] for stand_in, _ in sorted(byte_alphabet().items(), key=lambda item: item[1])],
            tf.int64,
        )
        # Rank and joined id in one number, so that the lowest number is the lowest rank.
        self._merges = hash_table(
            np.array([left * self._size + right for left, right in pairs], np.int64),
            np.array([rank * self._size + joined[pair] for pair, rank in pairs.items()], np.int64),
            _NO_MERGE,
        )
        self._whole = hash_table(list(whole_words), list(whole_words.values()), -1)
        self._added = hash_table([content.encode() for content in added], list(added.values()), -1)

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token.

        Returns:
            Token ids (tokens,) int32, and the piece of each (tokens,) int64.
        """
        words, piece_of = self.words(pieces, is_added)
        # A word may be spelled as an added token that doesn't count beside letters.
        whole = tf.where(tf.gather(is_added, piece_of), self._added.lookup(words), self._whole.lookup(words))
        known = whole >= 0
        positions = tf.where(~known)[:, 0]
        ids, word_of = self._merge(tf.gather(words, positions))
        tokens, lengths = fill_in(whole, tf.ones_like(whole), positions, ids, word_of)
        return tokens, repeat(piece_of, lengths)

    def _merge(self, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Token ids (tokens,) int64 of words (words,) string, and the word of each (tokens,) int64."""
        letters = tf.io.decode_raw(tf.strings.reduce_join(words), tf.uint8)
        ids = tf.gather(self._byte_ids, tf.cast(letters, tf.int32))
        lengths = tf.cast(tf.strings.length(words), tf.int64)
        word_of = repeat(tf.range(tf.size(words, tf.int64)), lengths)
        if not self._in_order:
            return self._merge_in_turns(ids, word_of, lengths, stretch=None)
        stretch = 2 * self._longest_token
        return tf.cond(
            tf.reduce_any(lengths > stretch),
            lambda: self._merge_in_turns(ids, word_of, lengths, stretch),
            lambda: self._merge_in_turns(ids, word_of, lengths, stretch=None),
        )

    def _merge_in_turns(
        self, ids: tf.Tensor, word_of: tf.Tensor, lengths: tf.Tensor, stretch: int | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges until nothing can be merged.

        A word of 100,000 letters has thousands of different pairs, and a turn for each would take a minute. But what
        is merged far away doesn't matter: a pair is joined before its neighbours are, if no pair of lower rank stands
        within the longest token's length of it. So in a stretch of twice that length the pairs of lowest rank are
        joined if the stretches beside it have no lower one.

        Args:
            ids: (bytes,) int64, the token of every byte.
            word_of: (bytes,) int64.
            lengths: (words,) int64, bytes of each word.
            stretch: Bytes of a stretch; None for whole words.
        """
        number = tf.size(lengths, tf.int64)
        stretch_of = word_of
        if stretch is not None:
            counts = (lengths + stretch - 1) // stretch
            begins = tf.cumsum(counts, exclusive=True)
            offset = tf.range(tf.size(ids, tf.int64)) - tf.gather(tf.cumsum(lengths, exclusive=True), word_of)
            stretch_of = tf.gather(begins, word_of) + offset // stretch
            word_of_stretch = repeat(tf.range(number), counts)
            alike = tf.concat([word_of_stretch[1:] == word_of_stretch[:-1], [False]], 0)
            number = tf.reduce_sum(counts)

        def joinable(ids: tf.Tensor, word_of: tf.Tensor) -> tf.Tensor:
            """What each token and the next one join to: (tokens,) int64."""
            following = tf.concat([ids[1:], [0]], 0)
            same_word = tf.concat([word_of[1:], [-1]], 0) == word_of
            return self._merges.lookup(tf.where(same_word, ids * self._size + following, -1))

        def turn(ids: tf.Tensor, word_of: tf.Tensor, stretch_of: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, ...]:
            best = tf.math.unsorted_segment_min(values, stretch_of, number)
            if stretch is not None:
                after = tf.where(alike, tf.concat([best[1:], [_NO_MERGE]], 0), _NO_MERGE)
                before = tf.where(
                    tf.concat([[False], alike[:-1]], 0), tf.concat([[_NO_MERGE], best[:-1]], 0), _NO_MERGE
                )
                best = tf.minimum(best, tf.minimum(before, after))
            joins = (values == tf.gather(best, stretch_of)) & (values != _NO_MERGE)
            if stretch is not None:
                joins &= _from_the_left(joins, values)
            joins = _first_of_word(joins, word_of) if not self._in_order else _every_second(joins)
            ids = tf.where(joins, values % self._size, ids)
            kept = tf.where(~tf.concat([[False], joins[:-1]], 0))[:, 0]
            ids, word_of, stretch_of = tf.gather(ids, kept), tf.gather(word_of, kept), tf.gather(stretch_of, kept)
            return ids, word_of, stretch_of, joinable(ids, word_of)

        ids, word_of, _, _ = tf.while_loop(
            lambda ids, word_of, stretch_of, values: tf.reduce_any(values != _NO_MERGE),
            turn,
            (ids, word_of, stretch_of, joinable(ids, word_of)),
            shape_invariants=(tf.TensorShape([None]),) * 4,
        )
        return ids, word_of


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
    """Of neighbouring joins, which would share a token, keeps the first, third and so on: (tokens,) bool."""
    index = tf.range(tf.size(joins))
    begins = joins & ~tf.concat([[False], joins[:-1]], 0)
    begin = tf.gather(tf.concat([[0], tf.boolean_mask(index, begins)], 0), tf.cumsum(tf.cast(begins, tf.int32)))
    return joins & ((index - begin) % 2 == 0)


def _from_the_left(joins: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Whether the same join, if it stands in a row of them, is done at all places before in the row: (tokens,) bool."""
    begins = tf.concat([[True], values[1:] != values[:-1]], 0)
    left_out = tf.cumsum(tf.cast(~joins, tf.int64))
    begin = tf.gather(tf.where(begins)[:, 0], tf.cumsum(tf.cast(begins, tf.int64)) - 1)
    return joins & (left_out == tf.gather(left_out, begin)) & tf.gather(joins, begin)


def _first_of_word(joins: tf.Tensor, word_of: tf.Tensor) -> tf.Tensor:
    """Keeps the leftmost join of every word: (tokens,) bool."""
    positions = tf.where(joins)[:, 0]
    words = tf.gather(word_of, positions)
    first = tf.concat([[True], words[1:] != words[:-1]], 0)[: tf.size(words)]
    return (
        tf.scatter_nd(
            tf.boolean_mask(positions, first)[:, None],
            tf.boolean_mask(tf.ones_like(words), first),
            tf.shape(joins, tf.int64),
        )
        > 0
    )
