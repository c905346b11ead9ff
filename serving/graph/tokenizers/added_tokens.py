"""Finds a tokenizer's added tokens, such as `<mask>`, where they stand literally in a text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from serving.graph.tokenizers.refusal import refusal

# No valid UTF-8 holds this byte, so no text can hold the separator.
SEPARATOR = b"\xff"

# Unicode's property White_Space, which the fast tokenizers' regex engine calls `\s`.
WHITE_SPACE = (
    *range(0x09, 0x0E),
    0x20,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
)


def literal(content: str) -> str:
    """RE2's pattern for exactly this text."""
    return "".join(f"\\x{{{ord(character):X}}}" for character in content)


WHITE_SPACE_CLASS = "[" + "".join(literal(chr(point)) for point in WHITE_SPACE) + "]"
"""RE2's pattern for one of them."""


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
        if not self._pattern:
            return texts, tf.zeros_like(texts, tf.bool), tf.range(tf.size(texts, tf.int64))
        marked = tf.raw_ops.StaticRegexReplace(input=texts, pattern=self._pattern, rewrite=self._rewrite)
        indices, pieces, _ = tf.raw_ops.StringSplitV2(input=marked, sep=SEPARATOR)
        # Separators come in pairs, so every second piece of a row stood between two of them.
        return pieces, indices[:, 1] % 2 == 1, indices[:, 0]


def _refuse_ambiguous(tokens: Sequence[Mapping[str, Any]]) -> None:
    strips = any(token["lstrip"] or token["rstrip"] for token in tokens)
    for token in tokens:
        if token["single_word"]:
            raise refusal(f"{token['content']!r} is matched as a single word, which depends on what stands around it")
        if strips and any(ord(character) in WHITE_SPACE for character in token["content"]):
            raise refusal(f"{token['content']!r} holds a blank while another token swallows blanks")
    for first in tokens:
        for second in tokens:
            same_pass = first["normalized"] == second["normalized"]
            same_kind = (first["lstrip"], first["rstrip"]) == (second["lstrip"], second["rstrip"])
            if first is not second and not same_kind and second["content"].startswith(first["content"]):
                raise refusal(f"{second['content']!r} begins with {first['content']!r}, which swallows other blanks")
            if not same_pass and _share_characters(first["content"], second["content"]):
                raise refusal(f"{first['content']!r} and {second['content']!r} can overlap in a text")


def _share_characters(first: str, second: str) -> bool:
    """Whether one occurrence of each can share characters of a text."""
    lengths = range(1, min(len(first), len(second)))
    return (
        first in second
        or second in first
        or any(first.endswith(second[:length]) or second.endswith(first[:length]) for length in lengths)
    )
