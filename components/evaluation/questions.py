"""The questions of an evaluation: blocks with frozen masks, and which record each masked token belongs to."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from components.contract.artifacts import Blocks
from components.evaluation.params import QuestionSettings
from components.masking.frozen_masks import FrozenMasks, freeze_masks
from foundation.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

READ_BLOCKS = 8192
"""Blocks read from disk at once."""


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of a split, in the order of their tokens.

    Attributes:
        row: (records,) int64, the row in the corpus.
        tokens: (records,) int64, with special tokens.
        text_tokens: (records,) int64, without special tokens.
        characters: (records,) int64, Unicode code points of the text.
        bytes: (records,) int64, of the text in UTF-8.
    """

    row: np.ndarray
    tokens: np.ndarray
    text_tokens: np.ndarray
    characters: np.ndarray
    bytes: np.ndarray

    @classmethod
    def of(cls, columns: dict[str, np.ndarray], special_tokens_per_record: int) -> "Records":
        """From what `Blocks.records` gives."""
        row, tokens, characters, size = (
            columns[name].astype(np.int64) for name in ("row", "tokens", "characters", "bytes")
        )
        return cls(row, tokens, tokens - special_tokens_per_record, characters, size)


@dataclasses.dataclass(frozen=True)
class Questions:
    """What a model is asked.

    Attributes:
        indices: (blocks,) int64, the blocks' places in the test split.
        input_ids: (blocks, block_size) int32, the true tokens.
        attention_mask: (blocks, block_size) int8.
        masks: What is masked; `block` is the row in `input_ids`.
        record: (masked tokens,) int64, the record that each belongs to, as an index into `records`.
        records: Those of the whole test split.
    """

    indices: np.ndarray
    input_ids: np.ndarray
    attention_mask: np.ndarray
    masks: FrozenMasks
    record: np.ndarray
    records: Records

    @classmethod
    def ask(
        cls,
        indices: np.ndarray,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
        records: Records,
        *,
        concatenated: bool,
        tokenizer: "PreTrainedTokenizerFast",
        settings: QuestionSettings,
    ) -> "Questions":
        """Draws the masks.

        Args:
            indices: See the attribute of the same name.
            input_ids: See the attribute.
            attention_mask: See the attribute.
            records: See the attribute.
            concatenated: Whether the blocks are the records' tokens one after the other, cut at every block_size; else
                each record has rows of its own.
            tokenizer: Gives the mask token, the special tokens and the vocabulary's size.
            settings: The share of the tokens that are masked, and the seed.
        """
        masks = freeze_masks(
            input_ids,
            special_ids=special_ids_of(tokenizer),
            mask_token_id=int(tokenizer.mask_token_id),
            vocabulary_size=len(tokenizer),
            probability=settings.probability,
            seed=settings.seed,
        )
        block_size = input_ids.shape[1]
        if concatenated:
            place = indices[masks.block] * block_size + masks.position  # (masked tokens,)
            record = np.searchsorted(np.cumsum(records.tokens), place, side="right")
        else:
            rows = -(-records.tokens // block_size)  # (records,)
            record = np.searchsorted(np.cumsum(rows), indices[masks.block], side="right")
        return cls(indices, input_ids, attention_mask, masks, record, records)

    @property
    def masks_in_split(self) -> FrozenMasks:
        """The masks with `block` being the index in the test split, as they are saved."""
        return dataclasses.replace(self.masks, block=self.indices[self.masks.block].astype(np.int32))

    def by_record(self, values: np.ndarray) -> np.ndarray:
        """The sums of the masked tokens' values (masked tokens,) by record, (records,) float64."""
        return np.bincount(self.record, values, minlength=len(self.records.row))


def special_ids_of(tokenizer: "PreTrainedTokenizerFast") -> Collection[int]:
    """The tokens that are never masked."""
    return sorted(set(tokenizer.all_special_ids))


def spread(count: int, wanted: int | None) -> np.ndarray:
    """The indices of so many of some blocks, evenly spaced; of all where no number is wanted."""
    chosen = min(wanted or count, count)
    return np.arange(chosen) * count // max(chosen, 1)


def read_blocks(split: "Dataset") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads blocks from disk, some thousands at once, without a Python object a token.

    Yields:
        input_ids (blocks, block_size) int32 and attention_mask (blocks, block_size) int8.
    """
    arrow = split.with_format("arrow")
    for start in range(0, len(split), READ_BLOCKS):
        table = arrow[start : start + READ_BLOCKS]
        shape = (table.num_rows, -1)
        columns = (table.column(name).combine_chunks().flatten() for name in ("input_ids", "attention_mask"))
        input_ids, attention_mask = (column.to_numpy(zero_copy_only=False).reshape(shape) for column in columns)
        yield input_ids.astype(np.int32), attention_mask.astype(np.int8)


def require_blocks_to_ask(blocks: Blocks) -> None:
    """Refuses a test split about which nothing can be asked.

    Raises:
        DataError: If it has no blocks.
    """
    if len(blocks.split("test")) == 0:
        raise DataError(
            "the test split must have at least one block",
            received="none",
            remedy="raise --ingest.test_size, ingest more text, or lower --preprocess.block_size",
        )


def questions_of_test_split(
    blocks: Blocks, tokenizer: "PreTrainedTokenizerFast", settings: QuestionSettings
) -> Questions:
    """The test blocks with their masks.

    Args:
        blocks: The blocks; their test split is asked about.
        tokenizer: The tokenizer that the blocks were made with.
        settings: How the questions are drawn.

    Raises:
        DataError: If the split has no blocks, or nothing in them can be masked.
    """
    require_blocks_to_ask(blocks)
    split = blocks.split("test")
    indices = spread(len(split), settings.max_blocks)
    batches = list(read_blocks(split if len(indices) == len(split) else split.select(indices)))
    special_tokens = blocks.report.special_tokens_per_record
    questions = Questions.ask(
        indices,
        np.concatenate([input_ids for input_ids, _ in batches]),
        np.concatenate([attention_mask for _, attention_mask in batches]),
        Records.of(blocks.records("test"), special_tokens),
        concatenated=blocks.packing == "concatenate",
        tokenizer=tokenizer,
        settings=settings,
    )
    if len(questions.masks) == 0:
        raise DataError(
            "at least one token of the test split must be masked",
            received=f"none in {len(indices)} blocks at train.eval_mlm_probability {settings.probability}",
            remedy="ingest more text, or raise --train.eval_mlm_probability",
        )
    return questions
