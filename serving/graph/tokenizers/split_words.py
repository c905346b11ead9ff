r"""The pre-tokenizer of Llama 3 (EuroBERT) and Qwen 2 in the graph: text to words by a regular expression.

Llama 3 cuts a text into words with

    (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+

RE2 has no look-ahead and its own edition of Unicode. So each character is written as a sign for its class, as the fast
tokenizer sees it, with other signs for the last blank before what is no blank. Signs need no look-ahead.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.byte_level_words import BLANK, LETTER, NUMBER, character_classes
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.segments import segment_ids
from serving.graph.tokenizers.tables import CodePointTable

_BEGINNING = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    # and one of the keys of the next table, and
)
_END = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_NUMBERS = {r"\p{N}{1,3}": "0{1,3}", r"\p{N}": "0"}
"""By the tokenizer's expression of a number, the same in signs."""

# Letters: any, and those of 's 't 'm 'd, 're 've, 'll in either case. Blanks: a space, another one, each of them before
# what is no blank, and line ends.
_LETTERS = "acrel"
_SPACE, _OTHER_SPACE, _LAST_SPACE, _LAST_OTHER_SPACE, _LINE_END = "_~s=n"
_END_OF_WORD = "|"


class SplitWords(tf.Module):
    """Cuts pieces of text into words, blanks included.

    Args:
        settings: A `Split` of a `tokenizer.json`.

    Raises:
        ModelError: If its expression is another one.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        pattern = settings["pattern"].get("Regex", "")
        numbers = _NUMBERS.get(pattern.removeprefix(_BEGINNING).removesuffix(_END))
        if numbers is None or pattern == pattern.removeprefix(_BEGINNING) or not keeps_words(settings):
            raise refusal(f"a Split at {settings['pattern']}, {settings['behavior']}")
        self._words = (
            f"'(?:c|re|ll)|[{_LAST_SPACE}{_LAST_OTHER_SPACE}'!]?[{_LETTERS}]+|{numbers}|{_LAST_SPACE}?['!]+{_LINE_END}*"
            f"|[{_SPACE}{_OTHER_SPACE}{_LINE_END}]*{_LINE_END}|[{_SPACE}{_OTHER_SPACE}]+"
            f"|[{_LAST_SPACE}{_LAST_OTHER_SPACE}]"
        )
        self._signs = CodePointTable(_signs(pattern))

    def __call__(self, pieces: tf.Tensor, is_added: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Cuts pieces.

        Args:
            pieces: (pieces,) string, valid UTF-8.
            is_added: (pieces,) bool, whether a piece is an added token, which stays whole.

        Returns:
            Words (words,) string, and the piece of each (words,) int64.
        """
        points, splits = code_points.decode(pieces)
        piece_of = segment_ids(splits)
        signs = self._signs(points)
        blank = tf.reduce_any([signs == ord(sign) for sign in (_SPACE, _OTHER_SPACE, _LINE_END)], 0)
        same_piece = tf.concat([piece_of[1:] == piece_of[:-1], [False]], 0)[: tf.size(points)]
        is_last = blank & ~tf.concat([blank[1:], [True]], 0)[: tf.size(points)] & same_piece
        signs = tf.where(is_last & (signs == ord(_SPACE)), ord(_LAST_SPACE), signs)
        signs = tf.where(is_last & (signs == ord(_OTHER_SPACE)), ord(_LAST_OTHER_SPACE), signs)
        marked = tf.raw_ops.StaticRegexReplace(
            input=code_points.encode(signs, splits), pattern=self._words, rewrite=rf"\0{_END_OF_WORD}"
        )
        signs = tf.io.decode_raw(tf.strings.reduce_join(marked), tf.uint8)
        is_end = signs == ord(_END_OF_WORD)
        after_end = tf.boolean_mask(tf.concat([[True], is_end[:-1]], 0)[: tf.size(signs)], ~is_end)
        first = tf.concat([[True], piece_of[1:] != piece_of[:-1]], 0)[: tf.size(points)]
        starts = tf.where(first | (after_end & ~tf.gather(is_added, piece_of)))[:, 0]
        words = code_points.encode(points, tf.concat([starts, [tf.size(points, tf.int64)]], 0))
        return words, tf.gather(piece_of, starts)


def keeps_words(settings: Mapping[str, Any]) -> bool:
    """Whether what a `Split` finds are the words, and nothing between them is lost where its expression finds all."""
    inverted = settings.get("invert", False)
    return (settings["behavior"] == "Isolated" and not inverted) or (settings["behavior"] == "Removed" and inverted)


def _signs(pattern: str) -> np.ndarray:
    """The sign of every code point: (0x110000,) int32."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split

    classes = character_classes()
    signs = np.full(len(classes), ord("!"), np.int32)
    signs[classes == LETTER], signs[classes == NUMBER], signs[classes == BLANK] = ord("a"), ord("0"), ord(_OTHER_SPACE)
    signs[[ord("'"), ord(" "), ord("\r"), ord("\n")]] = [ord("'"), ord(_SPACE), ord(_LINE_END), ord(_LINE_END)]
    letters = np.flatnonzero(classes == LETTER)
    split = Split(Regex(pattern), "isolated")
    # Which letters are those of a contraction, some of which other cases and old forms are too.
    for sign, probe, length in (("c", "'{}xx", 2), ("r", "'{}ex", 3), ("e", "'r{}x", 3), ("l", "'{}lx", 3)):
        text = "".join(probe.format(chr(point)) for point in letters)
        ends = {end for _, (_, end) in split.pre_tokenize_str(text)}
        signs[[point for place, point in enumerate(letters) if 4 * place + length in ends]] = ord(sign)
    return signs
