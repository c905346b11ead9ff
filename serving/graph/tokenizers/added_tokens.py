"""Finds a tokenizer's added tokens, such as `<mask>`, where they stand literally in a text."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from serving.graph.tokenizers.literals import SEPARATOR, WHITE_SPACE, WHITE_SPACE_CLASS, literal
from serving.graph.tokenizers.refusal import refusal
from serving.graph.tokenizers.whole_words import WholeWords


class AddedTokens(tf.Module):
    """Splits texts at added tokens and drops the blanks that a token swallows to its left or right.

    The fast tokenizer takes the leftmost, then longest, added token again and again. RE2 takes the leftmost and
    then the first alternative, so the alternatives stand from long to short.

    Args:
        tokens: The entries `added_tokens` of a `tokenizer.json`.

    Raises:
        ModelError: If some tokens could be found otherwise than by the fast tokenizer.
    """

    def __init__(self, tokens: Iterable[Mapping[str, Any]]) -> None:
        super().__init__()
        ordered = sorted(tokens, key=lambda token: len(token["content"]), reverse=True)
        _refuse_ambiguous(ordered)
        self._whole_words = WholeWords(ordered) if any(token["single_word"] for token in ordered) else None
        kinds: dict[tuple[bool, bool], list[str]] = {}
        for token in ordered:
            kinds.setdefault((token["lstrip"], token["rstrip"]), []).append(token["content"])
        blanks = WHITE_SPACE_CLASS + "*"
        self._pattern = "|".join(
            (blanks if strips_left else "")
            + "("
            + "|".join(literal(content) for content in contents)
            + ")"
            + (blanks if strips_right else "")
            for (strips_left, strips_right), contents in kinds.items()
        )
        # A group that took no part in the match is empty.
        groups = b"".join(b"\\%d" % number for number in range(1, len(kinds) + 1))
        self._rewrite = SEPARATOR + groups + SEPARATOR

    def __call__(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Splits texts.

        Args:
            texts: (batch,) string, valid UTF-8.

        Returns:
            Pieces (pieces,) string, each an added token or the text between two, some of them empty; whether a
            piece is an added token (pieces,) bool; and the row of each piece (pieces,) int64.
        """
        if self._whole_words is not None:
            return self._whole_words(texts)
        if not self._pattern:
            return texts, tf.zeros_like(texts, tf.bool), tf.range(tf.size(texts, tf.int64))
        marked = tf.raw_ops.StaticRegexReplace(input=texts, pattern=self._pattern, rewrite=self._rewrite)
        indices, pieces, _ = tf.raw_ops.StringSplitV2(input=marked, sep=SEPARATOR)
        # Separators come in pairs, so every second piece of a row stood between two of them.
        return pieces, indices[:, 1] % 2 == 1, indices[:, 0]


def _refuse_ambiguous(tokens: Sequence[Mapping[str, Any]]) -> None:
    for token in tokens:
        begins, ends = (ord(token["content"][place]) in WHITE_SPACE for place in (0, -1))
        if (begins and any(other["rstrip"] for other in tokens)) or (ends and any(other["lstrip"] for other in tokens)):
            raise refusal(f"{token['content']!r} begins or ends with a blank, while another token swallows blanks")
    alike: dict[tuple[bool, bool, bool], list[str]] = {}
    for token in tokens:
        alike.setdefault((token["normalized"], token["lstrip"], token["rstrip"]), []).append(token["content"])
    # There may be thousands of words, which are all alike, and a few special tokens.
    for (one, ours), (other, theirs) in itertools.permutations(alike.items(), 2):
        for first, second in itertools.product(ours, theirs):
            if one[1:] != other[1:] and second.startswith(first):
                raise refusal(f"{second!r} begins with {first!r}, which swallows other blanks")
            if one[0] != other[0] and _share_characters(first, second):
                raise refusal(f"{first!r} and {second!r} can overlap in a text")


def _share_characters(first: str, second: str) -> bool:
    """Whether one occurrence of each can share characters of a text."""
    lengths = range(1, min(len(first), len(second)))
    return (
        first in second
        or second in first
        or any(first.endswith(second[:length]) or second.endswith(first[:length]) for length in lengths)
    )
