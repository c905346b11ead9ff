"""Trains a tokenizer on the train split of a corpus: equal text and settings give equal files."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from components.contract.artifacts import Corpus
from components.tokenizers.params import BPE, CHARACTER, UNIGRAM, WORDPIECE, TokenizerParams
from components.tokenizers.trained_models import byte_level_bpe, character, unigram, wordpiece
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    import pyarrow
    from tokenizers import Tokenizer as RustTokenizer
    from transformers import PreTrainedTokenizerFast

    from components.blocks.text_column import TextReader

CHARACTERS_A_BATCH = 1 << 20
CHARACTERS_A_PIECE = 1 << 16
"""The text that training takes at once. A longer one is cut between words, which are all that training counts."""
CHARACTERS_A_WORD = 1 << 10
"""A longer word is cut: training moves all symbols of a word for each pair that it joins there."""
LONG_WORD = re.compile(rf"\S{{{CHARACTERS_A_WORD}}}(?=\S)")
UNUSUAL_WORD = re.compile(r"\S{101,}")
"""Longer than words are, and than WordPiece takes: it makes one unknown token of each."""
MUCH = 0.5
"""From this share of its characters on, a text whose words are so long has no blanks between words."""
MODELS = {BPE: byte_level_bpe, WORDPIECE: wordpiece, UNIGRAM: unigram, CHARACTER: character}


@dataclasses.dataclass
class TrainingText:
    """What training has read.

    Attributes:
        reader: Knows the column, and counts the records.
        characters: Of all texts.
        in_long_words: Those of them that stand in words of over 100 characters.
    """

    reader: "TextReader"
    characters: int = 0
    in_long_words: int = 0

    def note(self, model: str) -> str | None:
        """What a person should know of a text without blanks; None where words are as long as words are."""
        share = self.in_long_words / max(1, self.characters)
        if share < MUCH or model == CHARACTER:
            return None
        told = f"{share:.0%} of the text stands in words of more than 100 characters, as in DNA, base64 or Chinese"
        if model == WORDPIECE:
            return f"{told}: WordPiece makes one unknown token of each, so set --tokenizer.model character or unigram"
        return f"{told}: --tokenizer.model character gives one token a character"


def train(
    corpus: Corpus,
    text_column: str,
    params: TokenizerParams,
    streamed: "Callable[[], Iterator[pyarrow.RecordBatch]] | None" = None,
) -> tuple["PreTrainedTokenizerFast", TrainingText]:
    """A tokenizer trained on the train split.

    Args:
        corpus: The corpus.
        text_column: The column to train on.
        params: The settings.
        streamed: Gives the records to train on, each time from the first, where the corpus keeps no train split.

    Returns:
        The tokenizer, and what was read.

    Raises:
        DataError: If the split has no text.
    """
    from components.blocks.cutting import Cutter
    from components.blocks.text_column import TextReader, refuse_no_text

    def text() -> TextReader:
        return TextReader(corpus, "train", text_column, None if streamed is None else streamed())

    read = TrainingText(text())

    def pieces(words: "RustTokenizer") -> Iterator[list[str]]:
        cutter = Cutter(words, within_words=False)
        # A model that looks at the text twice reads it anew; what is counted is of the last reading.
        read.reader = text()
        read.characters = read.in_long_words = 0
        total = None if streamed else len(corpus.split("train"))
        with TERMINAL.progress("reading text", total, "records") as progress:
            for texts in progress.watch(read.reader.batches(CHARACTERS_A_BATCH), len):
                read.characters += sum(map(len, texts))
                read.in_long_words += sum(len(word) for text in texts for word in UNUSUAL_WORD.findall(text))
                yield [
                    word
                    for text in texts
                    for piece in cutter.pieces(text, CHARACTERS_A_PIECE)
                    for word in cut_long_words(piece)
                ]

    tokenizer = MODELS[params.model](pieces, params)
    reader = read.reader
    refuse_no_text("train", reader.column, reader.records, reader.skipped)
    return tokenizer, read


def cut_long_words(text: str) -> Iterator[str]:
    """The text in pieces, none of which has a longer word than `CHARACTERS_A_WORD`; joined, they are the text."""
    start = 0
    for match in LONG_WORD.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    yield text[start:]
