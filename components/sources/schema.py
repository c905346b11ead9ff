"""Finds one Arrow schema for records that differ, and writes them to an Arrow file.

`datasets` takes the schema from the first records that it reads and fails on the first later one that has another
key, or text where there were only empty lists. So all records are looked at before any is written.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.sources.readers import Place, Records
from components.sources.record_batches import BATCH_BYTES, BATCH_RECORDS
from foundation.errors import DataError

if TYPE_CHECKING:
    import pyarrow

LARGEST_RECORD = (1 << 31) - 2
"""The bytes of text that Arrow's strings take."""


MOST_FIELDS = 256
"""Objects with more different fields than this, of which each has few, are tables of names and values."""
DEEPEST = 60
"""How deep values may be nested in a record, within the 64 that Arrow's files allow."""


class Shape:
    """What the values of a field are, over all records.

    Args:
        is_record: Whether the values are the records themselves.

    Attributes:
        objects: The number of objects.
        names: The number of fields of all objects together.
        is_table: Whether the objects are tables of names and values, such as answers by their ids: then what is in
            them isn't looked at, and each becomes JSON text.
        first: The place of the first value of each Python type.
        items: The shape of all the lists' items.
        fields: The shapes of the objects' fields.
        too_wide: Whether an integer needs more than 64 bits.
    """

    __slots__ = ("fields", "first", "is_record", "is_table", "items", "names", "objects", "too_wide")

    def __init__(self, is_record: bool = False) -> None:
        self.is_record = is_record
        self.objects = 0
        self.names = 0
        self.is_table = False
        self.first: dict[type, Place] = {}
        self.items: Shape | None = None
        self.fields: dict[str, Shape] = {}
        self.too_wide = False

    def add(self, value: Any, place: Place, depth: int = 0) -> None:
        """Adds one more value.

        Args:
            value: The value.
            place: The place of its record.
            depth: How many lists and objects it is in.

        Raises:
            DataError: If it is nested too deep.
        """
        kind = type(value)
        if depth > DEEPEST:
            raise DataError(
                f"the values of a record must be in at most {DEEPEST} lists and objects, one in the other",
                received=f"more in {place}",
                remedy="remove or flatten that field",
            )
        if kind not in self.first:
            self.first[kind] = place
        if kind is dict and not self.is_table:
            self.objects += 1
            self.names += len(value)
            for name, item in value.items():
                shape = self.fields.get(name)
                if shape is None:
                    shape = self.fields[name] = Shape()
                shape.add(item, place, depth + 1)
            is_sparse = 2 * self.names < self.objects * len(self.fields)
            if len(self.fields) > MOST_FIELDS and is_sparse and not self.is_record:
                self.is_table, self.fields = True, {}
        elif kind is list:
            if self.items is None:
                self.items = Shape()
            for item in value:
                self.items.add(item, place, depth + 1)
        elif kind is int and not -(2**63) <= value < 2**63:
            self.too_wide = True

    @property
    def scalars(self) -> set[type]:
        """The types of the values that are neither null nor lists nor objects."""
        return set(self.first) - {dict, list, type(None)}

    @property
    def is_mixed(self) -> bool:
        """Whether the scalars have no common type except text."""
        return self.scalars not in (set(), {str}, {bool}, {int}, {float}, {int, float}) or self.too_wide

    @property
    def kinds(self) -> dict[str, Place]:
        """What the values are, lists, objects or neither, each in words with the place of the first."""
        words = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
        found = sorted(self.scalars, key=str)[:1] + [kind for kind in (list, dict) if kind in self.first]
        return {words.get(kind, "a number"): self.first[kind] for kind in found}

    @property
    def wrapped(self) -> "Shape | None":
        """The shape of the items, where some values are lists and others are what stands in them; else None."""
        if len(self.kinds) < 2 or dict in self.first:
            return None
        items, joined = self.items or Shape(), Shape()
        joined.first = {**items.first, **{kind: self.first[kind] for kind in self.scalars}}
        joined.too_wide = self.too_wide or items.too_wide
        return None if joined.is_mixed or joined.scalars != set(joined.first) - {type(None)} else joined

    @property
    def becomes_json(self) -> bool:
        """Whether no type of Arrow's holds all values, so that what isn't text becomes JSON text."""
        return self.is_table or (len(self.kinds) > 1 and self.wrapped is None)

    def arrow_type(self) -> "pyarrow.DataType":
        """The narrowest type that holds every value."""
        import pyarrow

        if self.becomes_json:
            return pyarrow.string()
        if wrapped := self.wrapped:
            return pyarrow.list_(wrapped.arrow_type())
        if dict in self.first:
            return pyarrow.struct([(field, shape.arrow_type()) for field, shape in self.fields.items()])
        if list in self.first:
            return pyarrow.list_(self.items.arrow_type() if self.items else pyarrow.null())
        if not self.scalars:
            return pyarrow.null()
        if self.is_mixed or str in self.scalars:
            return pyarrow.string()
        if float in self.scalars:
            return pyarrow.float64()
        return pyarrow.int64() if int in self.scalars else pyarrow.bool_()

    def converter(self) -> Callable[[Any], Any] | None:
        """A function that turns a value into one of `arrow_type`; None where all values are of it already."""
        if self.becomes_json:
            return lambda value: (
                value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            )
        if wrapped := self.wrapped:
            of_item = wrapped.converter() or (lambda item: item)
            return lambda value: (
                value if value is None else [of_item(item) for item in (value if isinstance(value, list) else [value])]
            )
        if self.is_mixed:
            return lambda value: value if value is None or isinstance(value, str) else json.dumps(value)
        if self.scalars == {int, float}:
            return lambda value: value if value is None else float(value)
        if self.items and (convert := self.items.converter()):
            return lambda value: value if value is None else [convert(item) for item in value]
        fields = {name: convert for name, shape in self.fields.items() if (convert := shape.converter())}
        if fields:
            return lambda value: (
                value and {name: fields[name](item) if name in fields else item for name, item in value.items()}
            )
        return None

    def parts(self, name: str = "") -> Iterator[tuple[str, "Shape"]]:
        """The shape itself and all in it that keep a type of their own, each with its dotted name."""
        yield name, self
        if self.becomes_json or self.wrapped:
            return
        if self.items:
            yield from self.items.parts(name)
        for field, shape in self.fields.items():
            yield from shape.parts(f"{name}.{field}" if name else field)


def write_records(read: Callable[[], Records], path: Path) -> tuple[int, list[str]]:
    """Writes records to an Arrow stream file under one schema; a field that a record lacks is null there.

    Args:
        read: Starts to read all records. It is called twice: to find the schema, and to write.
        path: The file to write.

    Returns:
        The number of records, and a sentence for each thing that could not be kept as it came.

    Raises:
        DataError: If a record is nested too deep, or too large.
    """
    import pyarrow

    shape, count = Shape(is_record=True), 0
    for place, record in read():
        shape.add(record, place)
        count += 1
    if not count:
        return 0, []
    schema = pyarrow.schema([(name, field.arrow_type()) for name, field in shape.fields.items()])
    anomalies = [
        f"`{name}` holds values of several types, or numbers beyond 64 bits: all were kept as text"
        for name, part in shape.parts()
        if part.is_mixed and not part.becomes_json
    ]
    anomalies += [
        f"`{name}` is {' and '.join(f'{what} in {place}' for what, place in part.kinds.items())}: "
        + ("each single value was read as a list" if part.wrapped else "what is no text was kept as JSON text")
        for name, part in shape.parts()
        if len(part.kinds) > 1
    ]
    anomalies += [
        f"`{name}` holds objects of more than {MOST_FIELDS} different fields, few each: each was kept as JSON text"
        for name, part in shape.parts()
        if part.is_table and len(part.kinds) < 2
    ]
    convert, struct, repaired = shape.converter(), pyarrow.struct(list(schema)), 0
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
        for batch in batches(read()):
            if convert:
                batch = [convert(record) for record in batch]
            array, count_repaired = array_of(batch, struct)
            repaired += count_repaired
            writer.write_batch(pyarrow.RecordBatch.from_struct_array(array))
    if repaired:
        anomalies.append(f"{repaired} records hold half a surrogate pair, which no encoding has: U+FFFD stands for it")
    return count, anomalies


def array_of(records: list[dict[str, Any]], kind: "pyarrow.DataType") -> tuple["pyarrow.StructArray", int]:
    """Records as an array, and how many of them held half a surrogate pair, for which U+FFFD stands there."""
    import pyarrow

    try:
        return pyarrow.array(records, type=kind), 0
    except UnicodeEncodeError:
        clean = [without_surrogates(record) for record in records]
        repaired = sum(repr(before) != repr(after) for before, after in zip(records, clean, strict=True))
        return pyarrow.array(clean, type=kind), repaired


def batches(records: Records) -> Iterator[list[dict[str, Any]]]:
    """Records without their places, up to `BATCH_RECORDS` or about `BATCH_BYTES` of text at once.

    Raises:
        DataError: If a record is too large for Arrow.
    """
    batch: list[dict[str, Any]] = []
    size = 0
    for place, record in records:
        added = most_bytes_of(record)
        if added > LARGEST_RECORD:
            refuse_large_record(place, record)
        if batch and size + added > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += added
        if len(batch) == BATCH_RECORDS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def most_bytes_of(value: Any) -> int:
    """At most how many bytes of UTF-8 the texts in a value have; exactly so many where all are ASCII."""
    if isinstance(value, str):
        return len(value) if value.isascii() else 4 * len(value)
    if isinstance(value, dict):
        return sum(map(most_bytes_of, value.values()))
    return sum(map(most_bytes_of, value)) if isinstance(value, list) else 0


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
