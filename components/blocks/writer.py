"""Writes blocks of token ids, and the lengths of the records in them, as they come."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from components.contract import manifest

if TYPE_CHECKING:
    from datasets import Features

ARROW_FILE = "data-00000-of-00001.arrow"
TOKENS_A_BATCH = 1 << 20
"""Tokens of the blocks that are one record batch of a file, whatever they come in: so equal blocks make equal files."""
RECORDS_A_BATCH = 1 << 14
"""The same for the file of the records' lengths."""


class RowBuffer:
    """Passes rows on in batches of one size, whatever they come in.

    Args:
        rows_a_batch: The size; the last batch may be smaller.
        write: Is called with the columns of a batch, an array (rows, ...) each.
    """

    def __init__(self, rows_a_batch: int, write: Callable[..., None]) -> None:
        self._rows_a_batch = rows_a_batch
        self._write = write
        self._held: list[tuple[np.ndarray, ...]] = []
        self._rows = 0

    def add(self, *columns: np.ndarray) -> None:
        """Takes rows, and passes on the batches that are full."""
        if not len(columns[0]):
            return
        self._held.append(columns)
        self._rows += len(columns[0])
        if self._rows < self._rows_a_batch:
            return
        together = self._together()
        full = self._rows // self._rows_a_batch * self._rows_a_batch
        for start in range(0, full, self._rows_a_batch):
            self._write(*(column[start : start + self._rows_a_batch] for column in together))
        # A view would keep all of them in memory.
        self._held = [tuple(column[full:].copy() for column in together)] if full < self._rows else []
        self._rows -= full

    def flush(self) -> None:
        """Passes on what is left."""
        if self._rows:
            self._write(*self._together())
        self._held, self._rows = [], 0

    def _together(self) -> tuple[np.ndarray, ...]:
        return tuple(np.concatenate(column) for column in zip(*self._held, strict=True))


class BlockFile:
    """Writes blocks into one Arrow file, and keeps none of them in memory.

    Attributes:
        blocks: The number of blocks written so far.

    Args:
        path: The file; its folder is made where it is missing.
        features: The columns, as `features_of` gives them.
    """

    def __init__(self, path: Path, features: "Features") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = features.arrow_schema
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._sink, self._schema)
        self._digest = hashlib.sha256(str(features).encode())
        self._rows = RowBuffer(max(1, TOKENS_A_BATCH // self._schema.field("input_ids").type.list_size), self._write)
        self.blocks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._rows.flush()
        finally:
            self._writer.close()
            self._sink.close()

    @property
    def digest(self) -> str:
        """SHA-256 of the columns and the blocks, once all are written."""
        return self._digest.hexdigest()

    def write(self, blocks: np.ndarray, document_ids: np.ndarray | None = None) -> None:
        """Appends blocks.

        Args:
            blocks: (blocks, block_size) int32.
            document_ids: (blocks, block_size) int16, as `packing.BlockBatch` has them; None where all is one document.
        """
        self._rows.add(*(blocks,) if document_ids is None else (blocks, document_ids))
        self.blocks += len(blocks)

    def _write(self, blocks: np.ndarray, document_ids: np.ndarray | None = None) -> None:
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


class BlockWriter(BlockFile):
    """Writes blocks into a folder that `datasets.load_from_disk` reads, and keeps none of them in memory.

    The dataset's fingerprint, by which `datasets` names its caches, is computed from the blocks: equal blocks give
    equal files.

    Attributes:
        blocks: The number of blocks written so far.

    Args:
        directory: The folder to make.
        block_size: Tokens a block.
        with_document_ids: Whether there is a column `document_ids`, which says which tokens are of one document.

    Example:
        with BlockWriter(Path("dataset/train"), block_size=8) as writer:
            writer.write(np.arange(16, dtype=np.int32).reshape(2, 8))
        dataset = datasets.load_from_disk("dataset/train")  # its columns are input_ids and attention_mask
    """

    def __init__(self, directory: Path, block_size: int, with_document_ids: bool = False) -> None:
        self._directory, self._features = directory, features_of(block_size, with_document_ids)
        super().__init__(directory / ARROW_FILE, self._features)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        if error is None:
            describe_folder(self._directory, self._features, [ARROW_FILE], self.digest)


def features_of(block_size: int, with_document_ids: bool) -> "Features":
    """The columns of blocks, as `datasets` describes them."""
    from datasets import Features, List, Value

    features = Features(
        input_ids=List(Value("int32"), length=block_size), attention_mask=List(Value("int8"), length=block_size)
    )
    if with_document_ids:
        features["document_ids"] = List(Value("int16"), length=block_size)
    return features


def describe_folder(directory: Path, features: "Features", files: Sequence[str], digest: str) -> None:
    """Writes beside Arrow files what makes their folder a data set that `datasets.load_from_disk` reads.

    Args:
        directory: The folder, named as the split.
        features: The columns.
        files: The names of the files, in order.
        digest: The SHA-256 of what they hold.
    """
    from datasets import DatasetInfo

    DatasetInfo(features=features).write_to_directory(str(directory))
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": digest[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": directory.name,
    }
    manifest.write_json(directory / "state.json", state)


class RecordWriter:
    """Writes the length of every record of a split, and keeps none of them in memory.

    The records come in the order of their tokens in the blocks, so that the running sum of `tokens` says where each
    record begins in the stream that was cut into blocks.

    Args:
        path: The Arrow stream file to write; it doesn't exist yet.
    """

    SCHEMA = pa.schema([("row", pa.int64()), ("tokens", pa.int32()), ("characters", pa.int32()), ("bytes", pa.int32())])

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._sink, self.SCHEMA)
        self._rows = RowBuffer(RECORDS_A_BATCH, self._write)

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._rows.flush()
        finally:
            self._writer.close()
            self._sink.close()

    def write(self, row: np.ndarray, tokens: np.ndarray, characters: np.ndarray, size: np.ndarray) -> None:
        """Appends records, each argument (records,).

        Args:
            row: The row of each record in its split of the corpus.
            tokens: How many tokens each became, special ones included.
            characters: How many characters each text has.
            size: How many bytes each text has in UTF-8.
        """
        self._rows.add(row, tokens, characters, size)

    def _write(self, *columns_of_numbers: np.ndarray) -> None:
        columns = zip(columns_of_numbers, self.SCHEMA.types, strict=True)
        arrays = [pa.array(values, kind) for values, kind in columns]
        self._writer.write_batch(pa.record_batch(arrays, schema=self.SCHEMA))
