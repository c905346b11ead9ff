"""The texts of single tokens and of what stands around them, with pieces of words told apart from whole ones."""

import functools
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.masking.whole_words import ANCHOR

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WITHOUT_BLANKS = frozenset({"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"})
"""Scripts, as Unicode's names of their characters begin, that put no blank between words."""


class TokenTexts:
    """What a tokenizer's tokens read as.

    Args:
        tokenizer: The tokenizer.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        self._tokenizer = tokenizer
        self._decoder: Any = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
        self._added = set(tokenizer.added_tokens_decoder)

    def text(self, token: int) -> str:
        """A token by itself."""
        return str(self._tokenizer.decode([token]))

    def continues_word(self, token: int) -> bool:
        """Whether a token goes on with the word before it; False where tokenizer or script don't show that."""
        if token in self._added or not self._marks_words:
            return False
        first = self._after_anchor([token])[:1]
        return _is_in_word(first) and unicodedata.name(first, "").split(" ")[0].split("-")[0] not in WITHOUT_BLANKS

    def before(self, tokens: Sequence[int], token: int) -> str:
        """The text of the tokens before one, with the blank between the two, if there is one."""
        if not tokens:
            return ""
        text = str(self._tokenizer.decode(list(tokens)))
        blank = " " if self._decoder is None or self._after_anchor([token])[:1].isspace() else ""
        return text.rstrip() + blank if blank else text

    def after(self, tokens: Sequence[int]) -> str:
        """The text of the tokens after another one, with the blank between the two, if there is one."""
        if self._decoder is not None:
            return self._after_anchor(tokens)
        return f" {self._tokenizer.decode(list(tokens))}" if tokens else ""

    def _after_anchor(self, tokens: Sequence[int]) -> str:
        """The tokens' text where another token stands before them, so that the decoder strips nothing."""
        names = self._tokenizer.convert_ids_to_tokens(list(tokens))
        # A model may know more ids than its tokenizer has tokens; those have no text.
        there = [name for name in names if name is not None]
        return str(self._decoder.decode([ANCHOR, *there])).removeprefix(ANCHOR)

    @functools.cached_property
    def _marks_words(self) -> bool:
        """Whether the decoder shows where words begin, by a blank before some tokens and none before others."""
        if self._decoder is None:
            return False
        tokens = (token for token in range(len(self._tokenizer)) if token not in self._added)
        seen = set()
        for token in tokens:
            first = self._after_anchor([token])[:1]
            seen.add("blank" if first.isspace() else "word" if _is_in_word(first) else "other")
            if {"blank", "word"} <= seen:
                return True
        return False


def _is_in_word(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "LMN"
