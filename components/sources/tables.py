"""Reads Parquet and Arrow files batch by batch into one Arrow file."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.sources.arrow_types import common_schema, plain_values
from components.sources.columns import Columns
from components.sources.encodings import LFS_POINTER, without_content
from components.sources.readers import read_errors
from components.sources.record_batches import BATCH_BYTES, BATCH_RECORDS, bounded
from foundation.errors import DataError
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet


def write_tables(paths: list[Path], target: Path, columns: Columns) -> tuple[Counter[Path], list[str]]:
    """Writes the rows of Parquet or Arrow files under one schema; a column that a file lacks is null there.

    Args:
        paths: The files, in the order in which their rows are written.
        target: The Arrow stream file to write.
        columns: The columns to read.

    Returns:
        The number of rows by file, and a sentence for each thing that could not be kept as it came.

    Raises:
        DataError: If a file isn't what its name says or is damaged, or there are no rows.
    """
    import pyarrow

    rows: Counter[Path] = Counter()
    schema, anomalies = common_schema([schema_of(path) for path in paths], columns)
    with (
        pyarrow.OSFile(str(target), "wb") as file,
        pyarrow.ipc.new_stream(file, schema) as writer,
        TERMINAL.progress("reading", rows_in_all(paths), "records") as progress,
    ):
        for path in paths:
            for batch in progress.watch(batches_of(path, schema.names), lambda batch: batch.num_rows):
                rows[path] += batch.num_rows
                writer.write_batch(fit_schema(path, batch, schema))
    if not rows.total():
        raise no_rows(paths)
    return rows, anomalies


def no_rows(paths: list[Path]) -> DataError:
    """The error for files without a row."""
    return DataError(
        "a source must hold records",
        received=f"no rows in {', '.join(str(path) for path in paths[:3])}",
        remedy="give files with rows with --ingest.path",
    )


def rows_in_all(paths: list[Path]) -> int | None:
    """The rows of Parquet files, which say how many they have; None where a file doesn't."""
    if not all(map(is_parquet, paths)):
        return None
    return sum(open_parquet(path).metadata.num_rows for path in paths)


def schema_of(path: Path) -> "pyarrow.Schema":
    """The columns of a file.

    Raises:
        DataError: If it can't be read or isn't what its name says.
    """
    if is_parquet(path):
        return open_parquet(path).schema_arrow
    with opened_arrow(path) as reader:
        return reader.schema


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet by its name; else it is Arrow."""
    return path.suffix.lower() == ".parquet"


@contextlib.contextmanager
def opened_arrow(path: Path) -> Iterator["pyarrow.RecordBatchReader | pyarrow.RecordBatchFileReader"]:
    """Opens an Arrow file, memory-mapped: a stream, as `datasets` writes them, or a file with an index (Feather).

    Raises:
        DataError: If it can't be read or isn't Arrow, or its data is damaged.
    """
    import pyarrow

    try:
        with read_errors(path), pyarrow.memory_map(str(path)) as file:
            try:
                reader = pyarrow.ipc.open_stream(file)
            except pyarrow.ArrowInvalid:
                file.seek(0)
                reader = pyarrow.ipc.open_file(file)
            yield reader
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def data_files(paths: list[Path]) -> list[Path]:
    """Files without those that only describe others, or cache them, in folders that `datasets` saved to disk.

    Raises:
        DataError: If such a folder lacks a file.
    """
    saved: dict[Path, set[Path]] = {}
    for path in paths:
        # What isn't written by `datasets` is a file like any other.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if path.name == "state.json":
                with read_errors(path):
                    names = [str(file["filename"]) for file in json.loads(path.read_bytes())["_data_files"]]
                saved[path.parent] = {path.parent / name for name in names}
    missing = sorted(set().union(*saved.values()) - set(paths))
    if missing:
        raise DataError(
            "a data set that was saved to disk must hold all of its files",
            received=f"no {missing[0]}",
            remedy="copy it anew, or name one of its files with --ingest.path",
        )
    others = [path for path in paths if path in saved.get(path.parent, {path})]
    return [path for path in others if path.name != "dataset_dict.json"] if saved else others


def open_parquet(path: Path) -> "pyarrow.parquet.ParquetFile":
    """Opens a Parquet file.

    Raises:
        DataError: If it can't be read or isn't Parquet.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with read_errors(path):
            return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def batches_of(path: Path, names: list[str]) -> Iterator["pyarrow.RecordBatch"]:
    """The rows of a file, with those of the named columns that it has.

    Raises:
        DataError: If its data is damaged.
    """
    import pyarrow

    if not is_parquet(path):
        with opened_arrow(path) as reader:
            numbers = range(getattr(reader, "num_record_batches", 0))
            batches = map(reader.get_batch, numbers) if hasattr(reader, "get_batch") else iter(reader)
            for batch in batches:
                kept = pyarrow.Table.from_batches([batch]).select(
                    [name for name in batch.schema.names if name in names]
                )
                for table in bounded(kept):
                    yield from table.to_batches()
        return
    try:
        with read_errors(path), open_parquet(path) as file:
            kept = [name for name in file.schema_arrow.names if name in names]
            yield from file.iter_batches(batch_size=rows_a_batch(file, kept), columns=kept)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def rows_a_batch(file: "pyarrow.parquet.ParquetFile", names: list[str]) -> int:
    """How many rows to read at once: fewer than `BATCH_RECORDS` where some rows take much more than others' bytes.

    Args:
        file: The file.
        names: The columns that are read.
    """
    bytes_a_row = 0.0
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        leaves = (group.column(leaf) for leaf in range(group.num_columns))
        size = sum(leaf.total_uncompressed_size for leaf in leaves if leaf.path_in_schema.startswith(tuple(names)))
        bytes_a_row = max(bytes_a_row, size / max(1, group.num_rows))
    return max(1, min(BATCH_RECORDS, int(BATCH_BYTES / max(1, bytes_a_row))))


def damaged(path: Path, error: Exception) -> DataError:
    """The error for a file that isn't sound."""
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            return without_content(path)
    found = f"{path.stat().st_size} bytes: {str(error).splitlines()[0]}"
    return DataError(
        "a .parquet file must hold sound Parquet data"
        if is_parquet(path)
        else "a .arrow or .feather file must hold sound Arrow data",
        received=f"{path}, {found}",
        remedy="download or write it anew",
    )


def fit_schema(path: Path, batch: "pyarrow.RecordBatch", schema: "pyarrow.Schema") -> "pyarrow.RecordBatch":
    """A batch under the schema of all files, with nulls in the columns that its own file lacks."""
    import pyarrow

    columns = []
    for field in schema:
        if field.name not in batch.schema.names:
            columns.append(pyarrow.nulls(batch.num_rows, field.type))
            continue
        column = batch.column(field.name)
        try:
            columns.append(column if column.type == field.type else plain_values(column, field.type))
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, pyarrow.ArrowTypeError) as error:
            raise DataError(
                "the files of one source must agree on their columns' types",
                received=f"{path}: `{field.name}` is {column.type}, in other files {field.type} ({error})",
                remedy="write the files anew with one schema, or give one of them with --ingest.path",
            ) from error
    return pyarrow.RecordBatch.from_arrays(columns, schema=schema)
