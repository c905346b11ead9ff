"""Reads Parquet files batch by batch into one Arrow file."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.sources.readers import read_errors
from components.sources.record_batches import BATCH_BYTES, BATCH_RECORDS
from foundation.errors import DataError

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet


def write_tables(paths: list[Path], target: Path) -> tuple[Counter[Path], list[str]]:
    """Writes the rows of Parquet files under one schema; a column that a file lacks is null there.

    Args:
        paths: The files, in the order in which their rows are written.
        target: The Arrow stream file to write.

    Returns:
        The number of rows by file, and a sentence for each thing that could not be kept as it came.

    Raises:
        DataError: If a file isn't Parquet or is damaged, schemas contradict each other, or there are no rows.
    """
    import pyarrow

    rows: Counter[Path] = Counter()
    schemas = [plain_schema(open_parquet(path).schema_arrow) for path in paths]
    try:
        schema = pyarrow.unify_schemas(schemas, promote_options="permissive")
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise DataError(
            "Parquet files of one source must agree on their columns' types",
            received=f"{', '.join(path.name for path in paths[:3])}: {error}",
            remedy="write the files anew with one schema, or give one of them with --ingest.path",
        ) from error
    with pyarrow.OSFile(str(target), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
        for path in paths:
            for batch in batches_of(path):
                rows[path] += batch.num_rows
                writer.write_batch(fit_schema(path, batch, schema))
    if not rows.total():
        raise DataError(
            "a source must hold records",
            received=f"no rows in {', '.join(str(path) for path in paths[:3])}",
            remedy="give files with rows with --ingest.path",
        )
    return rows, []


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


def batches_of(path: Path) -> Iterator["pyarrow.RecordBatch"]:
    """The rows of a Parquet file.

    Raises:
        DataError: If its data is damaged.
    """
    import pyarrow

    try:
        with read_errors(path), open_parquet(path) as file:
            yield from file.iter_batches(batch_size=rows_a_batch(file))
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def rows_a_batch(file: "pyarrow.parquet.ParquetFile") -> int:
    """How many rows to read at once: fewer than `BATCH_RECORDS` where some rows take much more than others' bytes."""
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    bytes_a_row = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
    return max(1, min(BATCH_RECORDS, int(BATCH_BYTES / max(1, bytes_a_row))))


def damaged(path: Path, error: Exception) -> DataError:
    """The error for a file that isn't sound Parquet."""
    found = f"{path.stat().st_size} bytes: {str(error).splitlines()[0]}"
    return DataError(
        "a .parquet file must hold sound Parquet data", received=f"{path}, {found}", remedy="download or write it anew"
    )


def plain_schema(schema: "pyarrow.Schema") -> "pyarrow.Schema":
    """A schema without what `datasets` can't read: metadata of other writers, and dictionary-encoded columns."""
    import pyarrow

    fields = []
    for field in schema:
        kind = field.type.value_type if pyarrow.types.is_dictionary(field.type) else field.type
        fields.append(pyarrow.field(field.name, kind))
    return pyarrow.schema(fields)


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
            columns.append(column if column.type == field.type else column.cast(field.type))
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, pyarrow.ArrowTypeError) as error:
            raise DataError(
                "Parquet files of one source must agree on their columns' types",
                received=f"{path}: `{field.name}` is {column.type}, in other files {field.type} ({error})",
                remedy="write the files anew with one schema, or give one of them with --ingest.path",
            ) from error
    return pyarrow.RecordBatch.from_arrays(columns, schema=schema)
