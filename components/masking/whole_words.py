"""Whole words: where they begin among tokens, and choosing so many of them that the share of tokens is right.

Masking whole words is from the authors of BERT (https://github.com/google-research/bert, May 2019): a masked piece
whose word shows next to it is too easily guessed.
"""

import dataclasses
import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from foundation.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANCHOR = "a"
"""A token before the one that is looked at; what tokenizers strip from the first token doesn't matter then."""
INCOMPLETE = "\ufffd"
"""What decoders put for bytes that are no whole character."""


@dataclasses.dataclass(frozen=True)
class WordBoundaries:
    """By token, whether a word begins or ends with it.

    Between two tokens is a boundary where the first ends a word or the second begins one. Within a word stand letters,
    digits and combining marks only: every token of punctuation, which pre-tokenizers split off, is a word of its own.

    Attributes:
        begins: (vocabulary_size,) bool.
        ends: (vocabulary_size,) bool.
    """

    begins: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase") -> "WordBoundaries":
        """Asks the tokenizer's own decoder, which puts a blank before a token that begins a word.

        So one rule reads every convention: the blank's letter of byte-level BPE, `##` of WordPiece, `▁` of Metaspace.

        Raises:
            ConfigError: If there is no decoder, or it shows no token as the beginning or none as the continuation of
                a word.
        """
        decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
        if decoder is None:
            raise _unmarked("a tokenizer without a decoder")
        special = set(tokenizer.all_special_ids)
        texts = [
            "" if token is None or index in special else decoder.decode([ANCHOR, token]).removeprefix(ANCHOR)
            for index, token in enumerate(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
        ]
        if not any(text[:1].isspace() for text in texts):
            raise _unmarked("one whose decoder puts no blank before any token")
        if not any(_in_word(text[:1]) for text in texts):
            raise _unmarked("one whose decoder puts a blank before every token")
        # A token that was added is a word, or stands where a user wants one.
        added = np.isin(np.arange(len(texts)), list(set(tokenizer.added_tokens_decoder) - special))
        begins = added | np.array([not _in_word(text[:1]) for text in texts])
        # A blank alone is the mark of a word whose first letter is another token.
        ends = added | np.array([text != " " and not _in_word(text[-1:]) for text in texts])
        return cls(begins, ends)

    def starts(self, input_ids: np.ndarray, maskable: np.ndarray) -> np.ndarray:
        """Where words begin, (blocks, block_size) bool, among maskable tokens (blocks, block_size) bool.

        A block's first token begins a word, and so does one after a token that is not maskable.
        """
        starts = maskable.copy()
        after, before = input_ids[:, 1:], input_ids[:, :-1]
        starts[:, 1:] &= self.begins[after] | self.ends[before] | ~maskable[:, :-1]
        return starts


def choose_words(
    starts: np.ndarray,
    maskable: np.ndarray,
    rates: np.ndarray,
    slots: int,
    rounding: np.ndarray,
    keys: np.ndarray,
    offsets: np.ndarray,
) -> np.ndarray:
    """Chooses whole words: all tokens of each or none.

    Every word of several tokens is chosen with its row's rate p, by systematic sampling over them in order of length
    (Madow 1949), so that their tokens together come close to their share. Words of one token then make up for what is
    missing or too much: a row of n maskable tokens gets floor(n·p) or ceil(n·p), as without regard to words, n·p on
    average. Where a row has too few words of one token for that, its number differs, in both directions alike; where
    it would pass the slots, the shortest of the chosen words of several tokens are let go. (Measured: nothing is lost
    where half of all words are one token; 2% to 4% of the share where a fifth or none is.)

    Of a word that a block's edge cuts, the part in the block is a word. One of more tokens than there are slots can't
    be chosen whole: each of its tokens counts as a word.

    Args:
        starts: (blocks, block_size) bool, where words begin; every maskable token belongs to the last start before it.
        maskable: (blocks, block_size) bool.
        rates: (blocks,) share of the maskable tokens that are chosen, from 0 to 1.
        slots: The most tokens chosen in a row.
        rounding: (blocks,) chance from 0 to 1: whether one more token is chosen than the whole ones.
        keys: (blocks, block_size) chance, of which that at a word's start decides its place among others as long.
        offsets: (blocks,) chance: where systematic sampling begins.

    Returns:
        (blocks, block_size) bool, at most `slots` True a row.
    """
    rows = len(starts)
    word = np.cumsum(starts).reshape(starts.shape) - 1  # (blocks, block_size); right where maskable
    length = np.bincount(word[maskable], minlength=int(starts.sum()))  # (words,)
    if (length > slots).any():
        starts = starts | (maskable & (length > slots)[word])
        word = np.cumsum(starts).reshape(starts.shape) - 1
        length = np.bincount(word[maskable], minlength=int(starts.sum()))
    row = np.nonzero(starts)[0]  # (words,)

    # Words by row, then from long to short, then at random.
    order = np.argsort(row * (slots + 1.0) + (slots - length) + keys[starts])
    length, several = length[order], length[order] > 1
    first = np.searchsorted(row, np.arange(rows))  # (blocks,); sorting keeps each row's words in their range
    rank = np.arange(len(row)) - first[row]
    steps = rank * rates[row] + offsets[row]
    chosen = several & (np.floor(steps + rates[row]) > np.floor(steps))
    passed = np.cumsum(length * chosen)
    passed -= (passed - length * chosen)[first[row]] if len(row) else 0  # tokens so far of the row
    chosen &= passed <= slots

    tokens = np.bincount(row, length * chosen, rows)  # (blocks,)
    singles = np.bincount(row, ~several, rows)
    # As many more or less as those of several tokens miss their share by, but the same room on both sides.
    room = np.minimum(rates, 1 - rates) * singles
    missed = np.bincount(row, length * several, rows) * rates - tokens
    counts = np.floor(np.round(singles * rates + np.clip(missed, -room, room), 6) + rounding)
    counts = np.minimum(counts, slots - tokens)
    chosen |= ~several & (rank - np.bincount(row, several, rows)[row] < counts[row])

    chosen_word = np.empty(len(row), np.bool_)
    chosen_word[order] = chosen
    return maskable & chosen_word[word] if len(row) else maskable.copy()


def _in_word(character: str) -> bool:
    """Whether a character, or none, stands within a word."""
    return character.isalnum() or character == INCOMPLETE or unicodedata.category(character or " ").startswith("M")


def _unmarked(received: str) -> ConfigError:
    return ConfigError(
        "the tokenizer must mark where words begin, as byte-level BPE, WordPiece and SentencePiece do, where "
        "train.whole_word_mask is true",
        received=received,
        remedy="set --train.whole_word_mask false, or another --tokenizer.pretrained",
    )
