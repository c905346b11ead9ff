"""Reads the values by which records are grouped, or ordered in time."""

import dataclasses
import datetime
import difflib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from components.sources.record_batches import tables_of
from foundation.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MONTH = re.compile(r"\d{4}-\d{2}")
"""An ISO date without a day, which stands for the month's first."""


@dataclasses.dataclass(frozen=True)
class Times:
    """The times of records.

    Attributes:
        values: (records,) int64 microseconds since 1970 in UTC, or int64 or float64 numbers.
        are_dates: Whether they are microseconds.
    """

    values: np.ndarray
    are_dates: bool

    def text(self, value: Any) -> str:
        """One of the values, for people: an ISO date with its time of day, unless that is midnight, or a number."""
        if not self.are_dates:
            return str(value)
        moment = EPOCH + datetime.timedelta(microseconds=int(value))
        return moment.replace(tzinfo=None).isoformat().removesuffix("T00:00:00")


def column_values(dataset: "Dataset", key: str, name: str) -> "pyarrow.ChunkedArray":
    """The values of a column, one a record.

    Args:
        dataset: The records.
        key: The setting that names the column.
        name: The column's name; dots lead into nested records.

    Raises:
        ConfigError: If there is no such column, or it holds lists or objects.
    """
    import pyarrow
    import pyarrow.compute as pc

    from components.blocks.text_fields import find_field

    schema = dataset.features.arrow_schema
    found = find_field(list(schema), name)
    plain = [column for field in schema for column in plain_names(field)]
    if found is None or name not in plain:
        nearest = difflib.get_close_matches(name, plain, n=1)
        raise ConfigError(
            f"ingest.{key} must name a column with one value a record",
            received=repr(name) if found is None else f"{name!r} of type {found[1]}",
            remedy=f"set --ingest.{key}, for example to {(nearest or plain or ['id'])[0]} (such columns: "
            f"{', '.join(plain) or 'none'})",
        )
    path, kind = found
    chunks = []
    for table in tables_of(dataset.select_columns([path[0]])):
        for batch in table.to_batches():
            values = batch.column(0)
            chunks.append(pc.struct_field(values, list(path[1:])) if path[1:] else values)
    return pyarrow.chunked_array(chunks, type=chunks[0].type if chunks else kind)


def plain_names(field: "pyarrow.Field") -> list[str]:
    """The dotted names of a column's values that aren't lists, at or below a field."""
    import pyarrow

    if pyarrow.types.is_struct(field.type):
        return [f"{field.name}.{name}" for child in field.type for name in plain_names(child)]
    return [] if pyarrow.types.is_nested(field.type) else [field.name]


def groups_of(dataset: "Dataset", name: str) -> "pyarrow.Array":
    """The values of `ingest.group_column` as text (records,); null where there is none, or only white space.

    Raises:
        ConfigError: If it is no column with one value a record.
    """
    import pyarrow
    import pyarrow.compute as pc

    values = column_values(dataset, "group_column", name)
    if pyarrow.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if pyarrow.types.is_binary(values.type) or pyarrow.types.is_large_binary(values.type):
        values = pyarrow.chunked_array([[value and value.hex() for value in values.to_pylist()]], pyarrow.string())
    texts = values.cast(pyarrow.large_string()).combine_chunks()
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(texts), ""), None, texts)


def times_of(dataset: "Dataset", name: str, place: Callable[[int], str]) -> Times:
    """The values of `ingest.time_column`.

    Args:
        dataset: The records.
        name: The column.
        place: Says where a row is, for messages.

    Raises:
        ConfigError: If it is no column with one value a record.
        DataError: If a record has no readable value.
    """
    import pyarrow
    import pyarrow.compute as pc

    values = column_values(dataset, "time_column", name)
    kind = values.type
    if values.null_count:
        row = int(np.flatnonzero(values.is_null().to_numpy())[0])
        raise unreadable(name, place(row), "no value", values.null_count)
    if pyarrow.types.is_date(kind) or pyarrow.types.is_timestamp(kind):
        unit = pyarrow.timestamp("us", tz=getattr(kind, "tz", None))
        return Times(values.cast(unit, safe=False).cast(pyarrow.int64()).to_numpy(), are_dates=True)
    if pyarrow.types.is_integer(kind):
        return Times(values.to_numpy(), are_dates=False)
    if pyarrow.types.is_floating(kind) or pyarrow.types.is_decimal(kind):
        numbers = values.cast(pyarrow.float64()).to_numpy()
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            raise unreadable(name, place(int(wrong[0])), str(numbers[wrong[0]]), len(wrong))
        return Times(numbers, are_dates=False)
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise ConfigError(
            "ingest.time_column must hold numbers, dates, times, or texts of these",
            received=f"{name!r} of type {kind}",
            remedy="name another --ingest.time_column",
        )
    texts = values.unique().to_pylist()
    are_dates = not is_number(texts[0]) if texts else False
    read = microseconds_of if are_dates else float
    known: dict[str, float] = {}
    for text in texts:
        try:
            known[text] = read(text.strip())
            if not are_dates and not np.isfinite(known[text]):
                raise ValueError
        except (ValueError, OverflowError):
            wrong = np.flatnonzero(pc.equal(values, text).to_numpy())
            what = "" if not text.strip() else f", although others are {'dates' if are_dates else 'numbers'}"
            raise unreadable(name, f"{place(int(wrong[0]))}{what}", repr(text), len(wrong)) from None
    places = values.dictionary_encode().combine_chunks()
    distinct = np.array([known[text] for text in places.dictionary.to_pylist()], np.int64 if are_dates else np.float64)
    return Times(distinct[places.indices.to_numpy()], are_dates)


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def microseconds_of(text: str) -> int:
    """The microseconds from 1970 to an ISO date, with or without a time of day; in UTC where it names no zone.

    Raises:
        ValueError: If the text is no such date.
    """
    moment = datetime.datetime.fromisoformat(f"{text}-01" if MONTH.fullmatch(text) else text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return (moment - EPOCH) // datetime.timedelta(microseconds=1)


def unreadable(name: str, place: str, value: str, count: int) -> DataError:
    """The error for records without a time."""
    more = f" (and {count - 1:,} more like it)" if count > 1 else ""
    return DataError(
        "every record must have a number or an ISO date, such as 2024-05-31 or 2024-05-31T12:00:00Z, in "
        "ingest.time_column",
        received=f"{value} in {name} of {place}{more}",
        remedy="correct or remove these records, or leave out --ingest.time_column",
    )
