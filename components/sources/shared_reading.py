"""Files that are read by several processes, a file at a time, into the same records as one process makes of them."""

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.contract.workers import Workers
from components.sources import readers, schema, tables
from components.sources.columns import Columns
from components.sources.shapes import Shape
from foundation.terminal import BYTES, TERMINAL

if TYPE_CHECKING:
    import numpy as np
    import pyarrow


@dataclasses.dataclass(frozen=True)
class ReadFile:
    """What a process found in a file of JSON, CSV or text.

    Attributes:
        reading: What is there besides records.
        records: How many records it has.
        shape: What their fields are.
        sizes: (records,) int64, the bytes of each, by which they are divided into batches.
        written: The records as an Arrow stream, under the schema that its own records have.
        repaired: The number of records in which U+FFFD stands for half a surrogate pair.
    """

    reading: readers.Reading
    records: int
    shape: Shape
    sizes: "np.ndarray"
    written: bytes
    repaired: int


@dataclasses.dataclass(frozen=True)
class FileReader:
    """How files of JSON, CSV or text are read: all that a process needs to know.

    Attributes:
        read: The reader of their format.
        reading: How it reads.
        columns: The columns to read; None for all.
    """

    read: readers.Reader
    reading: readers.Reading
    columns: tuple[str, ...] | None

    @property
    def fresh(self) -> readers.Reading:
        """A reading in which nothing was found yet."""
        reading = self.reading
        return readers.Reading(reading.encoding, reading.text_records, reading.field)

    def prepare(self) -> "FileReader":
        """Itself: nothing has to be loaded."""
        return self

    def records(self, path: Path, reading: readers.Reading) -> readers.Records:
        """The records of a file.

        Raises:
            DataError: If it is malformed.
        """
        columns = Columns(self.columns)
        for place, record in self.read(path, reading):
            if self.columns is not None:
                reading.names.update(dict.fromkeys(record))
            yield place, columns.of_record(record)

    def look(self, path: Path) -> ReadFile:
        """Reads a file by itself.

        Raises:
            DataError: If it is malformed.
        """
        import numpy as np

        reading = self.fresh
        sizes: list[int] = []

        def read() -> readers.Records:
            reading.begin_anew()
            sizes.clear()
            for place, record in self.records(path, reading):
                sizes.append(schema.most_bytes_of(record))
                yield place, record

        with tempfile.TemporaryDirectory() as scratch:
            written = schema.write_all(read, Path(scratch) / "records.arrow")
            content = written.path.read_bytes() if written.count else b""
        return ReadFile(reading, written.count, written.shape, np.array(sizes, np.int64), content, written.repaired)

    def again(self, asked: tuple[Path, Shape]) -> tuple[bytes, int]:
        """Reads a file once more, under the schema of all files: its Arrow stream, and the number of repaired records.

        Raises:
            DataError: If it is malformed.
        """
        path, shape = asked
        with tempfile.TemporaryDirectory() as scratch:
            writing = schema.Writing(Path(scratch) / "records.arrow")
            for batch in schema.batches(self.records(path, self.fresh)):
                writing.write(batch, shape)
            writing.close()
            return (Path(scratch) / "records.arrow").read_bytes(), writing.repaired


def write_shared(
    reader: FileReader, paths: Sequence[Path], target: Path, workers: Workers
) -> tuple[list[ReadFile], list[str]] | None:
    """Writes the records of files to an Arrow stream file under one schema, as `schema.write_records` does.

    Each process reads a file by itself. Where the files' records differ, they are read once more.

    Args:
        reader: How they are read.
        paths: The files, in order.
        target: The file to write.
        workers: Who reads.

    Returns:
        What was found in each file, and a sentence for each thing that could not be kept as it came. None where the
        records are of a kind of which only one who reads all of them knows the schema, so that nothing was written.

    Raises:
        DataError: If a file is malformed.
    """
    found: list[ReadFile] = []
    shape = Shape(is_record=True)
    with TERMINAL.progress("reading", sum(path.stat().st_size for path in paths), BYTES) as progress:
        read = zip(paths, workers.map(reader.prepare, FileReader.look, paths), strict=True)
        for number, (_, each) in enumerate(progress.watch(read, lambda one: one[0].stat().st_size)):
            shape.merge(each.shape)
            # All files together may be more than the memory holds.
            _part(target, number).write_bytes(each.written)
            found.append(dataclasses.replace(each, written=b""))
    if shape.may_be_table:
        return None
    wanted, repaired = schema.schema_of(shape), sum(each.repaired for each in found)
    filled = [number for number, each in enumerate(found) if each.records]
    fit = shape.converter() is None and all(schema.schema_of(found[number].shape) == wanted for number in filled)
    if not fit:
        repaired = 0
        asked = [(paths[number], shape) for number in filled]
        again = workers.map(reader.prepare, FileReader.again, asked)
        for number, (written, count) in zip(filled, again, strict=True):
            repaired += count
            _part(target, number).write_bytes(written)
    if filled:
        batching = schema.Batching()
        sizes = (int(size) for number in filled for size in found[number].sizes)
        begins = [number for number, size in enumerate(sizes) if batching.begins_with(size)]
        parts = (_part(target, number) for number in filled)
        join(divided(batches_of(parts), begins), wanted, target)
    return found, schema.all_anomalies(shape, repaired) if filled else []


def _part(target: Path, number: int) -> Path:
    """Where the records of one file are, until all are there."""
    return target.with_name(f"part-{number:06}.arrow")


@dataclasses.dataclass(frozen=True)
class TableReader:
    """How Parquet and Arrow files are read: all that a process needs to know.

    Attributes:
        schema: That of all files.
    """

    schema: "pyarrow.Schema"

    def prepare(self) -> "TableReader":
        """Itself: nothing has to be loaded."""
        return self

    def rows(self, path: Path) -> "tuple[int, bytes]":
        """A file's rows: how many, and as an Arrow stream.

        Raises:
            DataError: If its data is damaged.
        """
        import pyarrow

        rows, sink = 0, pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, self.schema) as writer:
            for batch in tables.batches_of(path, self.schema.names):
                rows += batch.num_rows
                writer.write_batch(tables.fit_schema(path, batch, self.schema))
        return rows, sink.getvalue().to_pybytes()


def write_tables_shared(
    paths: list[Path], target: Path, columns: Columns, workers: Workers
) -> tuple[Counter[Path], list[str]]:
    """Writes the rows of Parquet or Arrow files, as `tables.write_tables` does; each process reads a file by itself.

    Raises:
        DataError: If a file isn't what its name says or is damaged, or there are no rows.
    """
    wanted, anomalies = tables.common_schema([tables.schema_of(path) for path in paths], columns)
    reader = TableReader(wanted)
    rows: Counter[Path] = Counter()
    with TERMINAL.progress("reading", tables.rows_in_all(paths), "records") as progress:
        read = zip(paths, workers.map(reader.prepare, TableReader.rows, paths), strict=True)
        for number, (path, (count, written)) in enumerate(progress.watch(read, lambda one: one[1][0])):
            rows[path] += count
            _part(target, number).write_bytes(written)
    if not rows.total():
        raise tables.no_rows(paths)
    join(batches_of(_part(target, number) for number in range(len(paths))), wanted, target)
    return rows, anomalies


def batches_of(parts: Iterable[Path]) -> "Iterator[pyarrow.RecordBatch]":
    """The batches of Arrow stream files, one after the other. A file is removed when it was read."""
    import pyarrow

    for part in parts:
        with pyarrow.OSFile(str(part), "rb") as stream, pyarrow.ipc.open_stream(stream) as reader:
            yield from reader
        part.unlink()


def divided(batches: "Iterable[pyarrow.RecordBatch]", begins: Sequence[int]) -> "Iterator[pyarrow.RecordBatch]":
    """The same rows in other batches.

    Args:
        batches: The rows.
        begins: The number of the first row of every batch but the first, ascending.
    """
    import pyarrow

    ends = iter(begins)
    row, end = 0, next(ends, None)
    held: list[pyarrow.RecordBatch] = []
    for batch in batches:
        while end is not None and end < row + batch.num_rows:
            yield pyarrow.concat_batches([*held, batch.slice(0, end - row)])
            batch, row, held, end = batch.slice(end - row), end, [], next(ends, None)
        held.append(batch)
        row += batch.num_rows
        if row == end:
            yield pyarrow.concat_batches(held)
            held, end = [], next(ends, None)
    if held:
        yield pyarrow.concat_batches(held)


def join(batches: "Iterable[pyarrow.RecordBatch]", wanted: "pyarrow.Schema", target: Path) -> None:
    """Writes batches into an Arrow stream file.

    Args:
        batches: The rows.
        wanted: Their schema.
        target: The file to write.
    """
    import pyarrow

    with pyarrow.OSFile(str(target), "wb") as file, pyarrow.ipc.new_stream(file, wanted) as writer:
        for batch in batches:
            writer.write_batch(batch)
