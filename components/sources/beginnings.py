"""How much is read of the shards of a source that is streamed, and which of it is the test split.

Only the beginnings of the shards are read, evenly, so that the test split is spread over the whole source. Where the
source has a test part of its own, that part's beginnings are the test split. Otherwise the first records of each shard
are, `ingest.test_size` of those that are read; the stream leaves them out, so that no record is on both sides.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.sources import schema, tables
from components.sources.arrow_types import common_schema
from components.sources.columns import Columns
from components.sources.local import open_arrow
from components.sources.readers import Records
from foundation.errors import DataError

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

TRAIN_RECORDS = 5000
"""How many train records are looked at, at least, for the columns and the report."""
MOST_BYTES = 1 << 30
"""About how many bytes of text the beginnings have in all."""


@dataclasses.dataclass
class Take:
    """How many records are read of the beginnings of some shards, evenly: what a short shard lacks, later ones give.

    Attributes:
        shards: The number of shards.
        records: The number of records in all.
        test_share: The part of them that is the test split's.
        read: How many records were read of each shard so far.
    """

    shards: int
    records: int
    test_share: float
    read: list[int] = dataclasses.field(default_factory=list)

    @property
    def quota(self) -> int:
        """How many records are to be read of the next shard."""
        return (len(self.read) + 1) * self.records // self.shards - sum(self.read)

    @property
    def bytes(self) -> int:
        """How many bytes are read of a shard, but for one record."""
        return MOST_BYTES // self.shards

    def of_records(self, records: Records) -> Records:
        """The beginning of the next shard."""
        quota, size, count = self.quota, 0, 0
        for each in itertools.islice(records, quota) if quota else ():
            yield each
            count, size = count + 1, size + schema.most_bytes_of(each[1])
            if size >= self.bytes:
                break
        self.read.append(count)

    def of_tables(self, batches: "Iterable[pyarrow.Table | pyarrow.RecordBatch]") -> "Iterator[pyarrow.Table]":
        """The beginning of the next shard."""
        import pyarrow

        quota, size, count = self.quota, 0, 0
        for batch in batches if quota else ():
            table = batch if isinstance(batch, pyarrow.Table) else pyarrow.Table.from_batches([batch])
            rows = min(table.num_rows, quota - count, max(1, self.bytes * table.num_rows // max(1, table.nbytes)))
            yield table.slice(0, rows)
            count, size = count + rows, size + table.nbytes
            if count >= quota or size >= self.bytes:
                break
        self.read.append(count)

    @property
    def test_records(self) -> list[int]:
        """How many records at the beginning of each shard are the test split's."""
        # Rounded up as in `train_test_split`, but not because of the last bit of a product.
        ends = [math.ceil(round(read * self.test_share, 6)) for read in itertools.accumulate(self.read)]
        return [min(read, end - before) for read, end, before in zip(self.read, ends, [0, *ends], strict=False)]


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much of a source is read for the test split.

    Attributes:
        test_size: The part of the records that are read which goes to the test split.
        max_test_records: The most records that it has.
        max_train_records: After how many records the stream ends; None for all.
    """

    test_size: float
    max_test_records: int
    max_train_records: int | None = None

    def takes(self, train: int, test: int) -> tuple[Take, Take]:
        """How much is read of so many train shards, and so many shards of a test part, which may be none."""
        if test:
            return Take(train, TRAIN_RECORDS, 0.0), Take(test, self.max_test_records, 1.0)
        records = math.ceil(self.max_test_records / self.test_size)
        return Take(train, max(records, 1), min(self.test_size, self.max_test_records / records)), Take(1, 0, 1.0)


def write_tables(
    each: "Iterable[tuple[str, Take, Iterable[pyarrow.Table | pyarrow.RecordBatch]]]",
    columns: Columns,
    cache: Path,
    target: Path,
) -> list[str]:
    """Writes the beginnings of tables to one Arrow file, under one schema.

    Args:
        each: The shards: name, how much is read, and the records.
        columns: The columns to keep.
        cache: A directory for the beginnings themselves.
        target: The file to write.

    Returns:
        A sentence for each thing that could not be kept as it came.
    """
    import pyarrow

    paths = []
    for number, (name, take, batches) in enumerate(each):
        path = cache / str(number) / f"{name}.arrow"
        path.parent.mkdir()
        kept = writer = None
        with pyarrow.OSFile(str(path), "wb") as file:
            for table in take.of_tables(batches):
                # Of one shard's batches, those of JSON on the Hub may still differ in their columns.
                kept = kept or common_schema([table.schema], Columns())[0]
                writer = writer or pyarrow.ipc.new_stream(file, kept)
                for batch in table.to_batches():
                    writer.write_batch(tables.fit_schema(path, batch, kept))
            if writer is not None:
                writer.close()
                paths.append(path)
    return tables.write_tables(paths, target, columns)[1]


def divided(target: Path, takes: "tuple[Take, Take]", limits: Limits) -> "tuple[Dataset, Dataset]":
    """The records that were read, divided into those that belong to the stream and the test split.

    Args:
        target: The Arrow file with the records of all beginnings, in order.
        takes: How many of each shard there are, of train and of the test part.
        limits: How much was to be read.

    Returns:
        Train and test.

    Raises:
        DataError: If there is none for test or none for train.
    """
    train_rows: list[int] = []
    test_rows: list[int] = []
    row = 0
    for take in takes:
        for read, test in zip(take.read, take.test_records, strict=True):
            test_rows += range(row, row + test)
            train_rows += range(row + test, row + read)
            row += read
    if not test_rows or not train_rows:
        raise too_few(limits, len(train_rows), len(test_rows))
    dataset = open_arrow(target)
    return dataset.select(train_rows), dataset.select(test_rows)


def too_few(limits: Limits, train: int = 0, test: int = 0) -> DataError:
    """The error for a source with too few records for both splits."""
    return DataError(
        "a corpus must hold at least one record for each of train and test",
        received=f"{train:,} train and {test:,} test records at the beginnings of the shards, with test_size "
        f"{limits.test_size}",
        remedy="give more records, another --ingest.test_size, or test records of their own with --ingest.test_path",
    )
