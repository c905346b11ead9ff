"""Finds added tokens that count only as whole words, such as words of a domain, among others that count anywhere."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.literals import SEPARATOR, WHITE_SPACE_CLASS, literal
from serving.graph.tokenizers.tables import CodePointTable, hash_table

_SINGLE_WORD, _STRIPS_LEFT, _STRIPS_RIGHT = 1, 2, 4


class WholeWords(tf.Module):
    """Splits texts at added tokens, some of which count only where no letter stands beside them.

    As the fast tokenizer does it: it finds the leftmost, then longest, token again and again; one that doesn't count is
    text, and so is what it covers. Then blanks are swallowed.

    Args:
        tokens: The entries `added_tokens` of a `tokenizer.json`, from long to short.
    """

    def __init__(self, tokens: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self._pattern = "(" + "|".join(literal(token["content"]) for token in tokens) + ")"
        flags = [
            token["single_word"] * _SINGLE_WORD + token["lstrip"] * _STRIPS_LEFT + token["rstrip"] * _STRIPS_RIGHT
            for token in tokens
        ]
        self._flags = hash_table([token["content"].encode() for token in tokens], flags, 0)
        self._in_word = CodePointTable(_in_words())

    def __call__(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Splits texts, as `AddedTokens` does."""
        marked = tf.raw_ops.StaticRegexReplace(
            input=texts, pattern=self._pattern, rewrite=SEPARATOR + b"\\1" + SEPARATOR
        )
        pieces, is_token, row_of = _split(marked)
        counts = is_token & ~(self._has(pieces, _SINGLE_WORD) & self._beside_letters(pieces, row_of))
        again = tf.strings.unsorted_segment_join(
            tf.where(counts, SEPARATOR + pieces + SEPARATOR, pieces), row_of, tf.size(texts)
        )
        pieces, is_token, row_of = _split(again)
        # Tokens and text take turns, so what stands beside a text is a token of its row or of no interest.
        left, right = (self._has(tf.where(is_token, pieces, ""), flag) for flag in (_STRIPS_LEFT, _STRIPS_RIGHT))
        strips_right_end = tf.concat([left[1:], [False]], 0) & ~is_token
        strips_left_end = tf.concat([[False], right[:-1]], 0) & ~is_token
        stripped = tf.strings.regex_replace(pieces, f"{WHITE_SPACE_CLASS}+$", "")
        pieces = tf.where(strips_right_end, stripped, pieces)
        stripped = tf.strings.regex_replace(pieces, f"^{WHITE_SPACE_CLASS}+", "")
        return tf.where(strips_left_end, stripped, pieces), is_token, row_of

    def _has(self, pieces: tf.Tensor, flag: int) -> tf.Tensor:
        return tf.bitwise.bitwise_and(tf.cast(self._flags.lookup(pieces), tf.int32), flag) != 0

    def _beside_letters(self, pieces: tf.Tensor, row_of: tf.Tensor) -> tf.Tensor:
        """Whether a letter of the same row stands right before or after a piece: (pieces,) bool."""
        points, splits = code_points.decode(pieces)
        in_word = tf.concat([self._in_word(points) != 0, [False]], 0)
        is_empty = splits[1:] == splits[:-1]
        starts = tf.gather(in_word, splits[:-1]) & ~is_empty
        ends = tf.gather(in_word, tf.maximum(splits[1:] - 1, 0)) & ~is_empty

        def beside(values: tf.Tensor, distance: int) -> tf.Tensor:
            """The value of the piece so far away, False where that is another row's."""
            place = tf.range(tf.size(row_of)) + distance
            is_inside = (place >= 0) & (place < tf.size(row_of))
            return tf.roll(values, -distance, 0) & is_inside & (tf.roll(row_of, -distance, 0) == row_of)

        # Two tokens may have nothing between them.
        before = beside(ends, -1) | (beside(is_empty, -1) & beside(ends, -2))
        after = beside(starts, 1) | (beside(is_empty, 1) & beside(starts, 2))
        return before | after


def _split(marked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Splits at separators, which come in pairs, so that every second piece of a row stood between two of them."""
    indices, pieces, _ = tf.raw_ops.StringSplitV2(input=marked, sep=SEPARATOR)
    return pieces, indices[:, 1] % 2 == 1, indices[:, 0]


@functools.cache
def _in_words() -> np.ndarray:
    """Which code points the fast tokenizers take for a word's, by their regex engine's class of them."""
    from tokenizers.pre_tokenizers import Whitespace

    found = np.zeros(code_points.NUMBER_OF_CODE_POINTS, bool)
    points = code_points.scalar_values()
    # One that is a word's joins the letter before it; any other begins a piece of its own, or is dropped.
    for _, (start, end) in Whitespace().pre_tokenize_str("".join(f"a{chr(point)} " for point in points)):
        if end - start == 2:
            found[points[start // 3]] = True
    return found
