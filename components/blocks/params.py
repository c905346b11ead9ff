"""The settings by which text becomes blocks."""

import dataclasses
from typing import Literal

from components.blocks.encoding import CHARACTERS_A_BATCH
from foundation.errors import ConfigError

SMALLEST_BLOCK = 8
LARGEST_PACKED_BLOCK = 32_767
"""The documents in a block are numbered with 16 bits."""
FEWEST_CHARACTERS_AT_ONCE = 4096
PACKINGS = ("concatenate", "documents", "packed")


@dataclasses.dataclass(frozen=True)
class PreprocessParams:
    """The settings by which text becomes blocks.

    Attributes:
        text_column: Column with the text: a string, or a list of strings, which are joined by blanks; dots lead into
            nested records. Several columns, with commas between or as a list, are joined by blanks too; where some of a
            record's are empty, the others are its text. Where the name ends in a question mark, and the corpus has no
            such column or another has twice its prose, the only column that can be meant is read.
        block_size: Tokens a block, at least 8 and at most what the model accepts.
        packing: How records fill blocks. With concatenate, they are joined end to end and cut; with documents, each
            has its own padded rows; with packed, a block holds several whole records, and attention stays within each.
        characters_at_once: Characters of a record that are tokenized at once, at least 4096, which bounds memory: about
            200 bytes for each. A longer record is cut between words, where its tokens stay the same.
    """

    text_column: str | list[str] = "answers.text?"
    block_size: int = 128
    packing: Literal["concatenate", "documents", "packed"] = "concatenate"
    characters_at_once: int = dataclasses.field(default=CHARACTERS_A_BATCH, metadata={"key": False})

    def __post_init__(self) -> None:
        if not all(name.removesuffix("?").strip(" .") for name in self.named_columns.split(",")):
            raise ConfigError(
                "preprocess.text_column must name a column",
                received=repr(self.text_column),
                remedy="set --preprocess.text_column, for example to answers.text",
            )
        if self.block_size < SMALLEST_BLOCK:
            raise ConfigError(
                f"preprocess.block_size must be at least {SMALLEST_BLOCK} tokens",
                received=str(self.block_size),
                remedy="set --preprocess.block_size, for example to 128",
            )
        if self.packing not in PACKINGS:
            raise ConfigError(
                f"preprocess.packing must be one of {', '.join(PACKINGS)}",
                received=repr(self.packing),
                remedy="set --preprocess.packing to one of them",
            )
        if self.packing == "packed" and self.block_size > LARGEST_PACKED_BLOCK:
            raise ConfigError(
                f"preprocess.block_size must be at most {LARGEST_PACKED_BLOCK:,} where preprocess.packing is packed",
                received=f"{self.block_size:,}",
                remedy="lower --preprocess.block_size, or set --preprocess.packing documents",
            )
        if self.characters_at_once < FEWEST_CHARACTERS_AT_ONCE:
            raise ConfigError(
                f"preprocess.characters_at_once must be at least {FEWEST_CHARACTERS_AT_ONCE:,} characters",
                received=f"{self.characters_at_once:,}",
                remedy=f"leave --preprocess.characters_at_once out, or set it to {FEWEST_CHARACTERS_AT_ONCE} or more",
            )

    @property
    def named_columns(self) -> str:
        """The name in `text_column`; of several, the names with commas between."""
        return self.text_column if isinstance(self.text_column, str) else ",".join(self.text_column)
