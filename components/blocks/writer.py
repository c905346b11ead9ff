"""Writes blocks of token ids, and the lengths of the records in them, as they come."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from components.contract import manifest

if TYPE_CHECKING:
    from datasets import Features

ARROW_FILE = "data-00000-of-00001.arrow"


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
        self.blocks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()
        self._sink.close()

    @property
    def digest(self) -> str:
        """SHA-256 of the columns and the blocks so far."""
        return self._digest.hexdigest()

    def write(self, blocks: np.ndarray, document_ids: np.ndarray | None = None) -> None:
        """Appends blocks.

        Args:
            blocks: (blocks, block_size) int32.
            document_ids: (blocks, block_size) int16, as `packing.BlockBatch` has them; None where all is one document.
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
            row: The row of each record in its split of the corpus.
            tokens: How many tokens each became, special ones included.
            characters: How many characters each text has.
            size: How many bytes each text has in UTF-8.
        """
        columns = zip((row, tokens, characters, size), self.SCHEMA.types, strict=True)
        arrays = [pa.array(values, kind) for values, kind in columns]
        self._writer.write_batch(pa.record_batch(arrays, schema=self.SCHEMA))
