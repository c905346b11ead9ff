"""Blocks of token ids: cutting a stream of tokens into them, and writing them, and their records, as they come."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from components.contract import manifest

ARROW_FILE = "data-00000-of-00001.arrow"


class BlockCutter:
    """Cuts a stream of tokens, which comes in pieces of any length, into blocks of equal length.

    What is left of one piece goes before the next, so where the pieces end changes nothing. (The guide's
    `group_texts` drops a remainder in every batch of 1,000 records.)

    Attributes:
        block_size: Tokens a block.
        remainder: (fewer than block_size,) int32, the tokens after the last whole block.
    """

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.remainder = np.empty(0, dtype=np.int32)

    def cut(self, tokens: np.ndarray) -> np.ndarray:
        """The blocks that the stream now fills.

        Args:
            tokens: (tokens,) int32, the next piece of the stream.

        Returns:
            (blocks, block_size) int32; no block where the piece fills none.
        """
        stream = np.concatenate([self.remainder, tokens])
        blocks = len(stream) // self.block_size
        self.remainder = stream[blocks * self.block_size :].copy()  # a view would keep the whole piece alive
        return stream[: blocks * self.block_size].reshape(blocks, self.block_size)


class BlockWriter:
    """Writes blocks into a folder that `datasets.load_from_disk` reads, holding none of them back.

    The dataset's fingerprint, by which `datasets` names its caches, is taken from the blocks: equal blocks give
    equal files.

    Attributes:
        blocks: Blocks written so far.

    Args:
        directory: Doesn't exist yet.
        block_size: Tokens a block.
        with_document_ids: Whether blocks tell their documents apart: a column more.
    """

    def __init__(self, directory: Path, block_size: int, with_document_ids: bool = False) -> None:
        from datasets import DatasetInfo, Features, List, Value

        features = Features(
            input_ids=List(Value("int32"), length=block_size), attention_mask=List(Value("int8"), length=block_size)
        )
        if with_document_ids:
            features["document_ids"] = List(Value("int16"), length=block_size)
        directory.mkdir(parents=True)
        DatasetInfo(features=features).write_to_directory(str(directory))
        self._directory = directory
        self._schema = features.arrow_schema
        self._sink = pa.OSFile(str(directory / ARROW_FILE), "wb")
        self._writer = pa.ipc.new_stream(self._sink, self._schema)
        self._digest = hashlib.sha256(str(features).encode())
        self.blocks = 0

    def __enter__(self) -> "BlockWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()
        self._sink.close()
        if error is None:
            state: dict[str, Any] = {
                "_data_files": [{"filename": ARROW_FILE}],
                "_fingerprint": self._digest.hexdigest()[:16],
                "_format_columns": None,
                "_format_kwargs": {},
                "_format_type": None,
                "_output_all_columns": False,
                "_split": self._directory.name,
            }
            manifest.write_json(self._directory / "state.json", state)

    def write(self, blocks: np.ndarray, document_ids: np.ndarray | None = None) -> None:
        """Appends blocks.

        Args:
            blocks: (blocks, block_size) int32.
            document_ids: (blocks, block_size) int16, 0 for padding; None where there is none.
        """
        if not len(blocks):
            return
        tokens = np.ones_like(blocks, np.bool_) if document_ids is None else document_ids > 0
        values = {"input_ids": blocks, "attention_mask": tokens.astype(np.int8), "document_ids": document_ids}
        columns = [
            pa.FixedSizeListArray.from_arrays(
                pa.array(np.asarray(values[field.name]).ravel(), field.type.value_type), type=field.type
            )
            for field in self._schema
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        self._digest.update(np.ascontiguousarray(blocks).data)
        if document_ids is not None:
            self._digest.update(np.ascontiguousarray(document_ids).data)
        self.blocks += len(blocks)


class RecordWriter:
    """Writes the length of every record of a split, holding none of them back: whose token is whose.

    The records stand in the order of their tokens in the blocks, so that the running sum of `tokens` says where each
    begins in the stream that was cut.

    Args:
        path: Doesn't exist yet.
    """

    SCHEMA = pa.schema([("row", pa.int64()), ("tokens", pa.int32()), ("characters", pa.int32()), ("bytes", pa.int32())])

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._sink, self.SCHEMA)

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()
        self._sink.close()

    def write(self, row: np.ndarray, tokens: np.ndarray, characters: np.ndarray, size: np.ndarray) -> None:
        """Appends records, each argument (records,).

        Args:
            row: The record's row in its split of the corpus.
            tokens: How many tokens it became, special ones among them.
            characters: Of its text.
            size: Of its text in bytes of UTF-8.
        """
        columns = zip((row, tokens, characters, size), self.SCHEMA.types, strict=True)
        arrays = [pa.array(values, kind) for values, kind in columns]
        self._writer.write_batch(pa.record_batch(arrays, schema=self.SCHEMA))
