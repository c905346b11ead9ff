"""Local files as the shards of a stream: each is compared with what it was, and read record by record."""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.contract import manifest
from components.contract.reports import Shard
from components.sources import readers, schema, tables
from components.sources.finding import TABLES, format_of
from components.sources.local import READERS, LocalFiles
from components.sources.readers import Place, Reading, Records
from components.sources.record_objects import held_records
from foundation.errors import DataError

if TYPE_CHECKING:
    import pyarrow

JSON = (".json", ".jsonl", ".ndjson")


@dataclasses.dataclass(frozen=True)
class LocalShards:
    """The files of a path as shards.

    Attributes:
        path: As `LocalFiles` has it, and so the others.
        encoding: The encoding of text files without a byte order mark.
        text_records: What is a record in a text file.
        test_path: The files of the test part, which are no shards.
    """

    path: str
    encoding: str | None = None
    text_records: readers.TextRecords = "paragraph"
    test_path: str | None = None

    most_beginnings: ClassVar[int | None] = None

    @functools.cached_property
    def reading(self) -> Reading:
        """How the files are read, and what was found in them."""
        return Reading(self.encoding, self.text_records)

    @functools.cached_property
    def _places(self) -> dict[str, Path]:
        files = LocalFiles(self.path, self.encoding, self.text_records, self.test_path)
        return {files.name_of(path): path for path in files.files()[0]}

    def record_batches(
        self, shard: Shard, columns: "pyarrow.Schema", paths: Sequence[tuple[str, ...]], skip: int
    ) -> Generator["pyarrow.RecordBatch", None, None]:
        """See `components.sources.streaming.Shards`."""
        path = self._places.get(shard.name)
        if path is None or not path.exists():
            raise changed(shard, "it isn't there any more")
        with unchanged(path, shard):
            if format_of(path) in TABLES:
                yield from self._rows(path, columns, {names[0] for names in paths}, skip)
            else:
                yield from self._records(path, restricted(columns, paths), skip)

    def _rows(
        self, path: Path, columns: "pyarrow.Schema", wanted: set[str], skip: int
    ) -> Iterator["pyarrow.RecordBatch"]:
        """The rows of a Parquet or Arrow file, of which only the wanted columns are kept."""
        import pyarrow

        kept = pyarrow.schema([field for field in columns if field.name in wanted])
        for batch in tables.batches_of(path, kept.names):
            skipped = min(skip, batch.num_rows)
            skip -= skipped
            if skipped < batch.num_rows:
                yield tables.fit_schema(path, batch.slice(skipped), kept)

    def _records(self, path: Path, columns: "pyarrow.Schema", skip: int) -> Iterator["pyarrow.RecordBatch"]:
        """The records of a file of JSON, CSV or text, of which only the wanted fields are kept."""
        import pyarrow

        kind = pyarrow.struct(list(columns))
        rows = itertools.islice(self.records(path), skip, None)
        for batch in schema.batches((place, fit(record, kind, "", place)) for place, record in rows):
            yield schema.record_batch_of(batch, columns)[0]

    def records(self, path: Path) -> Records:
        """The records of a file of JSON, CSV or text.

        Raises:
            DataError: If it is malformed, or JSON that must be in memory as a whole.
        """
        if format_of(path) in JSON:
            refuse_one_value(path, self.encoding)
        yield from READERS[format_of(path)](path, self.reading)


@contextlib.contextmanager
def unchanged(path: Path, shard: Shard) -> Iterator[None]:
    """Reads a file only if it is what it was, and only as long as it stays so.

    Raises:
        DataError: If it changed.
    """
    with readers.read_errors(path):
        before = os.stat(path)
        if before.st_size != shard.bytes:
            raise changed(shard, f"it has {before.st_size:,} bytes, and had {shard.bytes:,}")
        if manifest.digest_of_file(path) != shard.digest:
            raise changed(shard, "its SHA-256 is another")
    yield
    with readers.read_errors(path):
        after = os.stat(path)
    if (after.st_size, after.st_mtime_ns, after.st_ino) != (before.st_size, before.st_mtime_ns, before.st_ino):
        raise changed(shard, "it was written while it was read")


def changed(shard: Shard, what: str) -> DataError:
    """The error for a shard that isn't what it was when the corpus was ingested."""
    return DataError(
        "a shard of a stream must be what it was when the corpus was ingested",
        received=f"{shard.name}: {what}",
        remedy="put back the file that it was, or run the same command again: it ingests what is there now",
    )


def restricted(columns: "pyarrow.Schema", paths: Sequence[tuple[str, ...]]) -> "pyarrow.Schema":
    """Of the columns, and of the fields below them, those that lie on one of the paths."""
    import pyarrow

    def kept(kind: "pyarrow.DataType", below: list[tuple[str, ...]]) -> "pyarrow.DataType":
        if pyarrow.types.is_struct(kind):
            return pyarrow.struct(fields_of(list(kind), below))
        if hasattr(kind, "value_type") and not pyarrow.types.is_dictionary(kind):
            return pyarrow.list_(kept(kind.value_type, below))
        return pyarrow.string()

    def fields_of(fields: "list[pyarrow.Field]", below: list[tuple[str, ...]]) -> "list[pyarrow.Field]":
        found = [(field, [path[1:] for path in below if path[0] == field.name]) for field in fields]
        return [pyarrow.field(field.name, kept(field.type, rest)) for field, rest in found if rest]

    return pyarrow.schema(fields_of(list(columns), list(paths)))


def fit(value: Any, kind: "pyarrow.DataType", name: str, place: Place) -> Any:
    """A value as a type of objects, lists and text takes it: without other fields, and as text what is none.

    It is what `schema.Shape.converter` makes of it: a single value where others are lists is a list by itself.

    Args:
        value: The value.
        kind: The type, as `restricted` gives it.
        name: The field's dotted name, for messages.
        place: The place of the record.

    Raises:
        DataError: If it is of another kind than in the records by which the type was found.
    """
    import pyarrow

    if value is None:
        return None
    if pyarrow.types.is_struct(kind) and isinstance(value, dict):
        return {
            field.name: fit(value.get(field.name), field.type, f"{name}.{field.name}".lstrip("."), place)
            for field in kind
        }
    if pyarrow.types.is_list(kind):
        return [fit(item, kind.value_type, name, place) for item in (value if isinstance(value, list) else [value])]
    if pyarrow.types.is_string(kind):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=not isinstance(value, dict | list))
    raise DataError(
        "a field that holds objects at the beginnings of the shards must hold them everywhere",
        received=f"`{name}` is {'a list' if isinstance(value, list) else 'text or a number'} in {place}",
        remedy="make the records agree, or remove the field",
    )


def refuse_one_value(path: Path, encoding: str | None) -> None:
    """Refuses a JSON file whose records are all in one object, which must be in memory as a whole.

    Raises:
        DataError: If it is one.
    """
    lines = (line for _, line in readers.lines_of(path, encoding) if not line.isspace())
    first = next(lines, "")
    if first.lstrip().startswith("["):
        return
    try:
        value = json.loads(first)
        if held_records(value) is None or next(lines, None) is not None:
            return
    except json.JSONDecodeError as error:
        # An object that ends on a later line breaks off at the end of this one; what else is wrong, the reader says.
        if error.pos < len(first.rstrip()) or next(lines, None) is None:
            return
    except (ValueError, RecursionError):
        return
    raise DataError(
        "a file that is streamed must be JSON Lines or an array, of which a record at a time is read, where it is JSON",
        received=f"{path}, which is one object: it must be in memory as a whole",
        remedy="write it anew as JSON Lines (pandas: to_json(orient='records', lines=True)), or leave out "
        "--ingest.streaming",
    )
