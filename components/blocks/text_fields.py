"""Finds the text in records of any schema: a column, or what is below it, by its dotted name."""

import difflib
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from foundation.errors import DataError

MOST_NAMED = 12
"""How many columns a message names."""


def names_in(schema: pa.Schema, names: str) -> list[str]:
    """The names in a text that has commas between them. A column's own name may hold commas; the longest counts."""
    parts = names.split(",")
    found = []
    while parts:
        ends = (end for end in range(len(parts), 0, -1) if find_field(list(schema), ",".join(parts[:end]).strip()))
        end = next(ends, 1)
        found.append(",".join(parts[:end]).strip())
        parts = parts[end:]
    return list(dict.fromkeys(found))


def resolve_columns(schema: pa.Schema, text_column: str) -> list[tuple[str, ...]]:
    """What `resolve_column` gives for each of the names, which have commas between."""
    return [resolve_column(schema, name) for name in names_in(schema, text_column)]


def resolve_column(schema: pa.Schema, text_column: str) -> tuple[str, ...]:
    """The column and the fields below it that a dotted name stands for.

    Raises:
        DataError: If there is no such column, or it doesn't hold text.
    """
    found = find_field(list(schema), text_column)
    if found is None or not is_text(found[1]):
        refuse_column(schema, text_column, {})
    return found[0]


def holds_text(schema: pa.Schema, name: str) -> bool:
    """Whether a dotted name is a column of text."""
    found = find_field(list(schema), name)
    return found is not None and is_text(found[1])


def refuse_column(schema: pa.Schema, text_column: str, letters: Mapping[str, float]) -> NoReturn:
    """Refuses a column that isn't there or doesn't hold text. The message names those that do.

    Args:
        schema: The corpus' schema.
        text_column: The column's name.
        letters: The letters of prose a record by column; the column with the most is the message's example.

    Raises:
        DataError: Always.
    """
    columns = by_prose(text_columns(schema), letters)
    if not columns:
        refuse_no_column(schema)
    nearest = difflib.get_close_matches(text_column, columns, n=1, cutoff=0.75)
    example = (nearest or columns)[0]
    remedy = f"set --preprocess.text_column, for example to {example} (columns with text: {', '.join(columns)})"
    if (found := find_field(list(schema), text_column)) is None:
        raise DataError("the text column must be a column of the corpus", received=repr(text_column), remedy=remedy)
    raise DataError(
        "the text column must hold strings or lists of strings",
        received=f"{text_column!r} of type {found[1]}",
        remedy=remedy,
    )


def refuse_no_column(schema: pa.Schema) -> NoReturn:
    """Refuses a corpus without text.

    Raises:
        DataError: Always. The message names the columns and their types.
    """
    found = ", ".join(f"{field.name} ({plain_name_of(field.type)})" for field in list(schema)[:MOST_NAMED])
    more = f" and {len(schema) - MOST_NAMED:,} more" if len(schema) > MOST_NAMED else ""
    raise DataError(
        "a corpus must have a column of text, or of lists of texts",
        received=f"{found}{more}" if found else "no columns",
        remedy="write the text as strings (bytes, for instance, decoded), or give other data with --ingest.path",
    )


def plain_name_of(kind: pa.DataType) -> str:
    """A type in words, without what is in it."""
    if pa.types.is_null(kind):
        return "nothing but nulls"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "bytes"
    return "objects" if pa.types.is_struct(kind) else "lists" if is_list(kind) else str(kind)


def by_prose(columns: list[str], letters: Mapping[str, float]) -> list[str]:
    """Columns with those first that have the most letters of prose."""
    return sorted(columns, key=lambda name: -letters.get(name, 0))


def text_columns(schema: pa.Schema) -> list[str]:
    """The dotted names of all columns that hold strings or lists of strings."""
    return [name for field in schema for name in names_below(field) if not pa.types.is_null(leaf(field.type))]


def names_below(field: pa.Field) -> list[str]:
    """The dotted names of the text at or below a field."""
    kind = leaf(field.type)
    if pa.types.is_struct(kind):
        return [f"{field.name}.{name}" for child in kind for name in names_below(child)]
    return [field.name] if is_text(kind) else []


def find_field(fields: list[pa.Field], name: str) -> tuple[tuple[str, ...], pa.DataType] | None:
    """The path and type that a dotted name stands for. Names of fields may hold dots; the longest that fits counts."""
    for field in sorted(fields, key=lambda field: len(field.name), reverse=True):
        if name == field.name:
            return (field.name,), field.type
        kind = leaf(field.type)
        if name.startswith(field.name + ".") and pa.types.is_struct(kind):
            below = find_field(list(kind), name[len(field.name) + 1 :])
            if below:
                return (field.name, *below[0]), below[1]
    return None


def leaf(kind: Any) -> pa.DataType:
    """A type without the lists around it."""
    while is_list(kind):
        kind = kind.value_type
    return kind


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text, or lists of text. The type of a column of nothing but nulls counts as text."""
    kind = leaf(kind)
    return any(
        test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    )


def descend(batch: pa.RecordBatch, path: tuple[str, ...]) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """The texts at the end of a path through structs and lists, without nulls.

    Args:
        batch: Any number of records.
        path: The names of the column and of the struct fields below it.

    Returns:
        values: (texts,) large_string.
        records: (texts,) int64, the row of `batch` that each text belongs to, ascending.
        null: (rows,) bool, whether anything on the path from the row to its texts was null.
    """
    values = batch.column(path[0])
    names = list(path[1:])
    records = np.arange(batch.num_rows)
    null = np.zeros(batch.num_rows, dtype=bool)
    while True:
        if values.null_count:
            null[records[values.is_null().to_numpy(zero_copy_only=False)]] = True
        if is_list(values.type):
            parents = pc.list_parent_indices(values).to_numpy(zero_copy_only=False)
            values, records = pc.list_flatten(values), records[parents]
        elif pa.types.is_struct(values.type):
            values = pc.struct_field(values, [names.pop(0)])
        else:
            break
    if values.null_count:
        valid = values.is_valid()
        values, records = values.filter(valid), records[valid.to_numpy(zero_copy_only=False)]
    return values.cast(pa.large_string()), records, null
