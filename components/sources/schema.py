"""Writes records that differ to an Arrow file under one schema.

`datasets` takes the schema from the first records that it reads and fails on the first later one that has another
key, or text where there were only empty lists. Here records are written as they come, and once more from the start if
later ones changed the schema.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.sources.readers import Place, Records
from components.sources.record_batches import BATCH_BYTES, BATCH_RECORDS
from components.sources.shapes import MOST_FIELDS, Shape
from foundation.errors import DataError

if TYPE_CHECKING:
    import pyarrow

LARGEST_RECORD = (1 << 31) - 2
"""The bytes of text that Arrow's strings take."""


def write_records(read: Callable[[], Records], path: Path) -> tuple[int, list[str]]:
    """Writes records to an Arrow stream file under one schema; a field that a record lacks is null there.

    Args:
        read: Starts to read all records. It is called again if later records have other fields or types than the first.
        path: The file to write.

    Returns:
        The number of records, and a sentence for each thing that could not be kept as it came.

    Raises:
        DataError: If a record is nested too deep, or too large.
    """
    written = write_all(read, path)
    return written.count, all_anomalies(written.shape, written.repaired) if written.count else []


@dataclasses.dataclass(frozen=True)
class Written:
    """Records in a file.

    Attributes:
        path: The Arrow stream file; it isn't there where there are no records.
        count: The number of records.
        shape: What their fields are.
        repaired: The number of records in which U+FFFD stands for half a surrogate pair.
    """

    path: Path
    count: int
    shape: Shape
    repaired: int


def write_all(read: Callable[[], Records], path: Path) -> Written:
    """Writes records to a file, as `write_records` does.

    Raises:
        DataError: If a record is nested too deep, or too large.
    """
    shape = Shape(is_record=True)
    writing = Writing(path)
    count = 0
    for batch in batches(looked_at(read(), shape)):
        count += len(batch)
        writing.write(batch, shape)
    if count and writing.schema != schema_of(shape):
        # Later records have other fields or types than those that were written first.
        writing.close()
        writing = Writing(path)
        for batch in batches(read()):
            writing.write(batch, shape)
    writing.close()
    return Written(path, count, shape, writing.repaired)


def all_anomalies(shape: Shape, repaired: int) -> list[str]:
    """A sentence for each thing that could not be kept as it came.

    Args:
        shape: What the fields of all records are.
        repaired: The number of records in which U+FFFD stands for half a surrogate pair.
    """
    anomalies = [*anomalies_of(shape)]
    if repaired:
        anomalies.append(f"{repaired} records hold half a surrogate pair, which no encoding has: U+FFFD stands for it")
    return anomalies


def looked_at(records: Records, shape: Shape) -> Records:
    """The same records, each added to a shape before it is passed on."""
    for place, record in records:
        shape.add_record(record, place)
        yield place, record


def schema_of(shape: Shape) -> "pyarrow.Schema":
    """The schema of records."""
    import pyarrow

    return pyarrow.schema([(name, field.arrow_type()) for name, field in shape.fields.items()])


class Writing:
    """Writes batches of records to an Arrow stream file as long as their schema stays that of the first.

    Args:
        path: The file to write.

    Attributes:
        schema: The schema of the first batch.
        repaired: The number of records in which U+FFFD stands for half a surrogate pair.
    """

    def __init__(self, path: Path) -> None:
        self.schema: pyarrow.Schema | None = None
        self.repaired = 0
        self._path = path
        self._open = contextlib.ExitStack()
        self._writer: Any = None
        self._fits = True

    def write(self, batch: list[dict[str, Any]], shape: Shape) -> None:
        """Writes a batch, unless a record before it, or in it, changed the schema.

        Args:
            batch: The records.
            shape: The shape of all records so far.
        """
        import pyarrow

        if not self._fits:
            return
        schema = schema_of(shape)
        if self.schema is None:
            self.schema = schema
            file = self._open.enter_context(pyarrow.OSFile(str(self._path), "wb"))
            self._writer = self._open.enter_context(pyarrow.ipc.new_stream(file, schema))
        self._fits = schema == self.schema
        if self._fits:
            self._writer.write_batch(self._record_batch(batch, shape))

    def close(self) -> None:
        """Ends the file."""
        self._open.close()

    def _record_batch(self, batch: list[dict[str, Any]], shape: Shape) -> "pyarrow.RecordBatch":
        if convert := shape.converter():
            batch = [convert(record) for record in batch]
        written, repaired = record_batch_of(batch, self.schema)
        self.repaired += repaired
        return written


def anomalies_of(shape: Shape) -> Iterator[str]:
    """A sentence for each field that could not be kept as it came."""
    parts = list(shape.parts())
    for name, part in parts:
        if part.is_mixed and not part.becomes_json:
            yield f"`{name}` holds values of several types, or numbers beyond 64 bits: all were kept as text"
    for name, part in parts:
        if len(part.kinds) > 1:
            kinds = " and ".join(f"{what} in {place}" for what, place in part.kinds.items())
            became = "each single value was read as a list" if part.wrapped else "what is no text was kept as JSON text"
            yield f"`{name}` is {kinds}: {became}"
    for name, part in parts:
        if part.is_table and len(part.kinds) < 2:
            yield (
                f"`{name}` holds objects of more than {MOST_FIELDS} different fields, few each: each was kept as JSON "
                "text"
            )


def record_batch_of(records: list[dict[str, Any]], schema: "pyarrow.Schema") -> tuple["pyarrow.RecordBatch", int]:
    """Records under a schema, and how many of them held half a surrogate pair, for which U+FFFD stands there.

    Args:
        records: The records, whose values are of the schema's types; what other fields they have is left out.
        schema: The columns.
    """
    import pyarrow

    def columns_of(rows: list[dict[str, Any]]) -> "pyarrow.RecordBatch":
        # Several times as fast as an array of whole records.
        columns = [pyarrow.array([row.get(field.name) for row in rows], field.type) for field in schema]
        return pyarrow.record_batch(columns, schema=schema)

    try:
        return columns_of(records), 0
    except UnicodeEncodeError:
        clean = [without_surrogates(record) for record in records]
        repaired = sum(repr(before) != repr(after) for before, after in zip(records, clean, strict=True))
        return columns_of(clean), repaired


def batches(records: Records) -> Iterator[list[dict[str, Any]]]:
    """Records without their places, up to `BATCH_RECORDS` or about `BATCH_BYTES` of text at once.

    Raises:
        DataError: If a record is too large for Arrow.
    """
    batch: list[dict[str, Any]] = []
    batching = Batching()
    for place, record in records:
        added = most_bytes_of(record)
        if added > LARGEST_RECORD:
            refuse_large_record(place, record)
        if batching.begins_with(added):
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


class Batching:
    """Divides records into batches, one record after the other."""

    def __init__(self) -> None:
        self._records = 0
        self._bytes = 0

    def begins_with(self, added: int) -> bool:
        """Whether a record of so many bytes is the first of another batch than the record before it."""
        begins = self._records == BATCH_RECORDS or (self._records > 0 and self._bytes + added > BATCH_BYTES)
        if begins:
            self._records = self._bytes = 0
        self._records, self._bytes = self._records + 1, self._bytes + added
        return begins


def most_bytes_of(value: Any) -> int:
    """At most how many bytes of UTF-8 the texts in a value have; exactly so many where all are ASCII."""
    kind = type(value)
    if kind is str:
        return len(value) if value.isascii() else 4 * len(value)
    if kind is not dict and kind is not list:
        return 0
    size = 0
    for item in value.values() if kind is dict else value:
        kind = type(item)
        if kind is str:
            size += len(item) if item.isascii() else 4 * len(item)
        elif kind is dict or kind is list:
            size += most_bytes_of(item)
    return size


def refuse_large_record(place: Place, record: dict[str, Any]) -> None:
    """Refuses a record that Arrow's strings can't hold.

    Raises:
        DataError: If it is one. The message has its size.
    """
    size = len(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > LARGEST_RECORD:
        raise DataError(
            f"a record must have at most {LARGEST_RECORD:,} bytes",
            received=f"{place}: about {size:,} bytes",
            remedy="divide that record into several",
        )


def without_surrogates(value: Any) -> Any:
    """The value with U+FFFD for every lone surrogate in its texts, which JSON's escapes can hold but UTF-8 can't."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {name: without_surrogates(item) for name, item in value.items()}
    return value
