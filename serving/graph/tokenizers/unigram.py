"""SentencePiece's unigram model in the graph (ALBERT, CamemBERT, XLM-RoBERTa, DeBERTa-v2, RemBERT).

Kudo, "Subword Regularization" (2018): of all ways to cut a word into pieces of the vocabulary the most probable one.
`PieceTable` finds the pieces of the vocabulary in all words of a batch, and `best_path` chooses among them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.in_graph import UNCUT
from serving.graph.tokenizers.metaspace_words import MetaspaceWords
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import fill_in, repeat, segment_ids
from serving.graph.tokenizers.tables import hash_table

# So much less than the least probable piece an unknown character scores.
_UNKNOWN_PENALTY = 10.0

# A code point has 21 bits and a factor 36, so that the sum of 32 products fits into an int64.
_LONGEST_PIECE = 32
_FACTOR_BITS = 36
NO_PIECE = -1

# A turn of a loop costs as much as several of these steps.
_STEPS_A_TURN = 4


class Unigram(tf.Module):
    """Turns pieces of text into token ids.

    Args:
        model: `model` of a `tokenizer.json`, of type Unigram.
        whole_words: Token id by word, for the words of the vocabulary that the tokenizer leaves in one token.
        added: Token id by added token.
        words: The pre-tokenizer.
        most_tokens: The most tokens that a text may have; None for any number. A word so long that even the longest
            pieces would make more tokens isn't cut: it becomes that many times `UNCUT`, so that its text is refused
            as too long. (Where its characters are unknown, which make one token together, that is an estimate.)

    Raises:
        ModelError: If the model has an option that the graph lacks.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        whole_words: Mapping[bytes, int],
        added: Mapping[str, int],
        words: MetaspaceWords,
        most_tokens: int | None,
    ) -> None:
        super().__init__()
        self.words = words
        if model["unk_id"] is None:
            raise refusal("a unigram model without an unknown token")
        # Of equal pieces the last one counts.
        vocabulary = {piece: (token, score) for token, (piece, score) in enumerate(model["vocab"]) if piece}
        self._unknown = int(model["unk_id"])
        self._table = PieceTable(list(vocabulary))
        # The loop over a word's characters takes some microseconds for each.
        self._most_characters = None if most_tokens is None else most_tokens * self._table.width
        tokens, scores = zip(*vocabulary.values(), strict=True)
        lowest = min(score for _, score in model["vocab"])
        # By a piece's index and one more: 0 stands for no piece, the last one for an unknown character.
        self._scores = tf.constant([-np.inf, *scores, lowest - _UNKNOWN_PENALTY], tf.float64)
        self._tokens = tf.constant([self._unknown, *tokens, self._unknown], tf.int64)
        self._whole = hash_table(list(whole_words), list(whole_words.values()), -1)
        self._added = hash_table([content.encode() for content in added], list(added.values()), -1)
        self._unknown_text = model["vocab"][self._unknown][0]
        self._byte_tokens = None
        if model.get("byte_fallback"):
            names = [f"<0x{byte:02X}>" for byte in range(256)]
            if not all(name in vocabulary for name in names):
                raise refusal("a unigram model with byte_fallback and without some of the 256 bytes")
            self._byte_tokens = tf.constant([vocabulary[name][0] for name in names], tf.int64)

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes pieces.

        Args:
            pieces: (pieces,) string, normal text in valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token.

        Returns:
            Token ids (tokens,) int32, and the piece of each (tokens,) int64.
        """
        points, splits, piece_of = self.words(pieces, is_added)
        words = code_points.encode(points, splits)
        whole = tf.where(tf.gather(is_added, piece_of), self._added.lookup(words), self._whole.lookup(words))
        lengths = splits[1:] - splits[:-1]
        repeats = tf.ones_like(whole)
        if self._most_characters is not None:
            too_long = (whole < 0) & (lengths > self._most_characters)
            whole = tf.where(too_long, tf.constant(UNCUT, tf.int64), whole)
            repeats = tf.where(too_long, -(-lengths // self._table.width), repeats)
        positions = tf.where(whole < 0)[:, 0]
        unknown = repeat(whole < 0, lengths)
        ids, word_of = self._cut(tf.boolean_mask(points, unknown), tf.gather(lengths, positions))
        tokens, lengths = fill_in(whole, repeats, positions, ids, word_of)
        return tokens, repeat(piece_of, lengths)

    def _cut(self, points: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Cuts words into pieces.

        Args:
            points: (characters,) int32, of all words.
            lengths: (words,) int64, the characters of each.

        Returns:
            Token ids (tokens,) int64, and the word of each (tokens,) int64.
        """
        width = self._table.width
        splits = tf.concat([[0], tf.cumsum(lengths)], 0)
        word_of = segment_ids(splits)
        left = tf.gather(splits, word_of + 1) - tf.range(tf.size(points, tf.int64))
        found, index = self._table(points, left)
        ends = tf.stack([tf.reduce_sum(found, 1), width - 1 - found[:, 1]], 1)
        shape = tf.stack([tf.size(points, tf.int64), width])
        piece = tf.scatter_nd(ends, index + 1, shape)  # (characters, width), ends of pieces, the longest first
        last = piece[:, -1:]
        piece = tf.concat([piece[:, :-1], tf.where(last == 0, tf.cast(tf.size(self._scores) - 1, last.dtype), last)], 1)
        taken = best_path(tf.gather(self._scores, piece), splits)

        ends = tf.where(taken > 0)[:, 0]
        taken = tf.gather(taken, ends)
        ids = tf.gather(self._tokens, tf.gather_nd(piece, tf.stack([ends, width - taken], 1)))
        unknown = ids == self._unknown
        word_of = tf.gather(word_of, ends)
        # Neighboring unknown tokens are one.
        joins = tf.concat([[False], unknown[1:] & unknown[:-1] & (word_of[1:] == word_of[:-1])], 0)[: tf.size(ids)]
        kept = tf.where(~joins)[:, 0]
        if self._byte_tokens is not None:
            starts = tf.gather(ends - taken + 1, kept)
            texts = code_points.encode(points, tf.concat([starts, [tf.size(points, tf.int64)]], 0))
            return self._as_bytes(tf.gather(ids, kept), tf.gather(word_of, kept), texts)
        return tf.gather(ids, kept), tf.gather(word_of, kept)

    def _as_bytes(self, ids: tf.Tensor, word_of: tf.Tensor, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Puts the tokens of its bytes in the place of every unknown token.

        Args:
            ids: (tokens,) int64.
            word_of: (tokens,) int64, the word of each.
            texts: (tokens,) string, what each stands for. The name of the unknown token stands for itself.
        """
        in_bytes = (ids == self._unknown) & (texts != self._unknown_text)
        byte_of = tf.cast(
            tf.io.decode_raw(tf.strings.reduce_join(tf.boolean_mask(texts, in_bytes)), tf.uint8), tf.int32
        )
        lengths = tf.where(in_bytes, tf.cast(tf.strings.length(texts), tf.int64), tf.ones_like(ids))
        repeated = repeat(tf.where(in_bytes, -tf.ones_like(ids), ids), lengths)
        ids = tf.tensor_scatter_nd_update(repeated, tf.where(repeated < 0), tf.gather(self._byte_tokens, byte_of))
        return ids, repeat(word_of, lengths)


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


def best_path(scores: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
    """Cuts words into pieces so that the sum of the scores is the largest.

    Scores are added from the left in float64, and of equal sums the one wins whose last piece is longer, as in the fast
    tokenizers: so even rounding is the same.

    Args:
        scores: (characters, width) float64, of the piece that ends with each character and has `width` characters in
            column 0, one less in column 1, and so on; minus infinity for no piece.
        splits: (words + 1,) int64, where words begin and the last one ends; no word is empty.

    Returns:
        (characters,) int64, the length of the piece that ends with each character, 0 where none does.
    """
    words = tf.size(splits, tf.int64) - 1
    size, width = tf.shape(scores, tf.int64)[0], scores.shape[1]
    word_lengths = splits[1:] - splits[:-1]
    longest = tf.reduce_max(tf.concat([word_lengths, [0]], 0))
    # At step n the words of over n characters are at work: a prefix of the words from long to short.
    of_length = tf.math.unsorted_segment_sum(tf.ones_like(word_lengths), word_lengths, longest + 1)
    at_work = words - tf.cumsum(of_length)[:-1]  # (steps,)
    from_long_to_short = tf.argsort(-word_lengths)
    rank = tf.scatter_nd(from_long_to_short[:, None], tf.range(words), [words])
    word_of = segment_ids(splits)
    position = tf.range(size) - tf.gather(splits, word_of)
    # Characters are worked on by position, and at each position by rank.
    place = tf.gather(tf.cumsum(at_work, exclusive=True), position) + tf.gather(rank, word_of)
    ordered = tf.scatter_nd(place[:, None], scores, tf.shape(scores, tf.int64))
    # Steps without words fill the last turn.
    at_work = tf.pad(at_work, [[0, -longest % _STEPS_A_TURN]])
    steps = tf.size(at_work)
    rows_of_steps = tf.TensorArray(tf.float64, steps, infer_shape=False, element_shape=[None, width])
    rows_of_steps = rows_of_steps.split(ordered, at_work)

    def turn(number: tf.Tensor, sums: tf.Tensor, chosen: tf.TensorArray) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        """Ends a piece with the character of each next number in every word.

        `sums` (words, width) has the best sums up to each of the last `width` characters.
        """
        for _ in range(_STEPS_A_TURN):
            rows = rows_of_steps.read(number)
            sums = sums[: tf.shape(rows)[0]]
            # Of equal ones top_k takes the first, which is the longest piece.
            best = tf.math.top_k(sums + rows, 1)
            sums = tf.concat([sums[:, 1:], best.values], 1)
            chosen = chosen.write(number, best.indices)
            number += 1
        return number, sums, chosen

    nothing = tf.fill([words, width - 1], tf.constant(-float("inf"), tf.float64))
    _, _, chosen = tf.while_loop(
        lambda number, *_: number < steps,
        turn,
        (
            tf.constant(0),
            tf.concat([nothing, tf.zeros([words, 1], tf.float64)], 1),
            tf.TensorArray(tf.int32, steps, infer_shape=False, element_shape=[None, 1]),
        ),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, width]), None),
    )
    lengths = width - tf.gather(tf.cast(chosen.concat()[:, 0], tf.int64), place)
    return tf.where(_on_path(lengths, position, splits), lengths, 0)


def _on_path(lengths: tf.Tensor, position: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
    """Whether a piece of the path ends with each character: (characters,) bool.

    Args:
        lengths: (characters,) int64, the length of the best piece that ends with each.
        position: (characters,) int64, the place of each in its word.
        splits: (words + 1,) int64.
    """
    size = tf.size(lengths, tf.int64)
    # Where the piece before the one that ends here ends; the place past all characters stands for none.
    before = tf.where(position >= lengths, tf.range(size) - lengths, size)
    before = tf.concat([before, [size]], 0)
    marked = tf.scatter_nd(splits[1:, None] - 1, tf.ones_like(splits[1:], tf.bool), [size + 1])

    def turn(marked: tf.Tensor, before: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Each turn reaches twice as many pieces back.
        reached = tf.boolean_mask(before, marked)
        marked = tf.tensor_scatter_nd_update(marked, reached[:, None], tf.ones_like(reached, tf.bool))
        return marked, tf.gather(before, before), tf.reduce_any(reached != size)

    marked, _, _ = tf.while_loop(
        lambda _, before, goes_on: goes_on,
        turn,
        (marked, before, tf.constant(True)),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape([None]), tf.TensorShape([])),
    )
    return marked[:-1]
