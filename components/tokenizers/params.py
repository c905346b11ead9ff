"""The settings of the tokenizer step."""

import dataclasses
from typing import Literal

from foundation.errors import ConfigError

BPE, WORDPIECE, UNIGRAM, CHARACTER = "bpe", "wordpiece", "unigram", "character"
MODELS = {
    BPE: "byte-level BPE",
    WORDPIECE: "WordPiece",
    UNIGRAM: "unigram",
    CHARACTER: "one token a character",
}
"""What each model of a trained tokenizer is called, by the name that an option gives it."""
NUMBER_OF_SPECIAL_TOKENS = 5
SMALLEST_VOCABULARY = {BPE: 256 + NUMBER_OF_SPECIAL_TOKENS, WORDPIECE: 32, UNIGRAM: 32, CHARACTER: 8}
LARGEST = 2**24
"""The largest value of every number here: far more than is useful, and still within what the library takes."""
LONGEST_TOKEN = {BPE: 64, WORDPIECE: 64, UNIGRAM: 16, CHARACTER: 1}
"""The characters of the longest token that training makes, unless `max_token_length` says otherwise.

SentencePiece's own limit for a unigram piece is 16. (A byte of byte-level BPE counts as a character.)
"""
LONGEST_UNIGRAM_PIECE = 32
"""The exported graph finds pieces of so many characters."""


@dataclasses.dataclass(frozen=True)
class TokenizerParams:
    """Which tokenizer to use: `pretrained` where it is given, otherwise one trained on the train split.

    Attributes:
        pretrained: Hub name, local folder or vocabulary file of a tokenizer; without it, one is trained. A folder may
            hold just a vocabulary: `tokenizer.json`, `vocab.txt`, `vocab.json` with `merges.txt`, or SentencePiece's
            `spiece.model`, `spm.model` or `sentencepiece.bpe.model`.
        revision: Branch, tag or commit of a pretrained tokenizer on the Hub.
        add_tokens: Words that become one token each: a list of them, or a text file with one a line. A pretrained
            model grows by them, and what it knew of each word's pieces is where the word starts from.
        model: How a trained tokenizer cuts words: bpe (byte-level BPE, as RoBERTa's), wordpiece (as BERT's), unigram
            (SentencePiece's, as XLM-RoBERTa's and ALBERT's), or character (one token a character, for text without
            blanks, such as DNA or Chinese).
        lowercase: Whether a trained tokenizer takes capital letters for small ones; with wordpiece also letters with
            accents for those without, as BERT's uncased models do.
        vocab_size: Number of tokens of a trained tokenizer, special tokens included; at least 261 for bpe.
        min_frequency: How often a pair (or, for character, a character) must occur for training to make a token of it;
            unigram has no such number.
        max_token_length: The most characters of a token that training makes; by default 64, and 16 for unigram.
        model_max_length: The longest sequence that a trained tokenizer declares, in tokens.
        streaming_characters: Where ingest.streaming is set, the characters that a tokenizer is trained on: the first of
            each file of the train split, evenly.
    """

    pretrained: str | None = None
    revision: str | None = None
    add_tokens: list[str] | str | None = None
    model: Literal["bpe", "wordpiece", "unigram", "character"] = "bpe"
    lowercase: bool = False
    vocab_size: int = 8192
    min_frequency: int = 2
    max_token_length: int | None = None
    model_max_length: int = 512
    streaming_characters: int = 100_000_000

    def __post_init__(self) -> None:
        if self.pretrained is not None and not self.pretrained.strip():
            raise ConfigError(
                "tokenizer.pretrained must be a Hub name, a local folder or a vocabulary file",
                received=repr(self.pretrained),
                remedy="set --tokenizer.pretrained, for example to distilbert/distilroberta-base, or leave it out",
            )
        if isinstance(self.add_tokens, str) and not self.add_tokens.strip():
            raise ConfigError(
                "tokenizer.add_tokens must be a text file with one word a line, or a list of words",
                received=repr(self.add_tokens),
                remedy="name a file with --tokenizer.add_tokens, or leave it out",
            )
        if self.revision is not None and self.pretrained is None:
            raise ConfigError(
                "tokenizer.revision must be given only with a pretrained tokenizer",
                received=f"{self.revision!r} without tokenizer.pretrained",
                remedy="set --tokenizer.pretrained too, or leave --tokenizer.revision out",
            )
        if self.model not in MODELS:
            raise ConfigError(
                f"tokenizer.model must be one of {', '.join(MODELS)}",
                received=repr(self.model),
                remedy="correct --tokenizer.model",
            )
        for name, smallest, value in (
            ("vocab_size", SMALLEST_VOCABULARY[self.model], self.vocab_size),
            ("min_frequency", 1, self.min_frequency),
            ("model_max_length", 8, self.model_max_length),
            ("max_token_length", 1, self.longest_token),
        ):
            if not smallest <= value <= LARGEST:
                raise ConfigError(
                    f"tokenizer.{name} must be at least {smallest}, and at most {LARGEST:,}",
                    received=str(value),
                    remedy=f"correct --tokenizer.{name}",
                )
        if self.streaming_characters < 1:
            raise ConfigError(
                "tokenizer.streaming_characters must be at least 1",
                received=str(self.streaming_characters),
                remedy="give e.g. --tokenizer.streaming_characters 100000000",
            )
        if self.model == UNIGRAM and self.longest_token > LONGEST_UNIGRAM_PIECE:
            raise ConfigError(
                f"tokenizer.max_token_length must be at most {LONGEST_UNIGRAM_PIECE} for a unigram model, whose longer "
                "pieces the exported graph can't find",
                received=str(self.max_token_length),
                remedy="lower --tokenizer.max_token_length, or leave it out",
            )

    @property
    def longest_token(self) -> int:
        """The most characters of a token that training makes."""
        return LONGEST_TOKEN[self.model] if self.max_token_length is None else self.max_token_length
