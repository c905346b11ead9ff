"""The records that one JSON object holds: which of its fields has them, or in what way the object is made of them."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

NAMES_OF_RECORDS = {
    "data",
    "records",
    "rows",
    "items",
    "examples",
    "instances",
    "documents",
    "docs",
    "entries",
    "results",
}
"""What a list of records is called in an object that has other fields, too."""
HAS_DIGIT = re.compile(r"\d")
"""What the names of texts have, in an object of texts by row or by id, and not all names of a record's fields."""
LONGEST_FACT = 200
"""So many characters a fact about a data set has at most: a license, a date, an address."""
FIELD_DEPTH = 3
"""Below so many objects a list of records is looked for, to name it."""


class Held(NamedTuple):
    """The records that one object holds.

    Attributes:
        records: The records.
        how: How it holds them, as the end of a sentence, where that isn't plain.
    """

    records: Iterable[dict[str, Any]]
    how: str | None = None


def held_records(value: Any) -> Held | None:
    """The records in an object that is none itself; None for any other value.

    It is an object whose only field is a list of objects, or that has such a list called `data` or alike beside a few
    facts (`{"version": "2.0", "data": […]}`); one of texts by row or id; one of columns, each a list of values; one of
    columns, each an object of values by row, or with a list of rows, as pandas' `to_json` writes them by default and
    with `orient="split"`; or an object of objects that are alike, such as records by their ids.
    """
    if not isinstance(value, dict) or not value:
        return None
    items = list(value.values())
    if len(value) == 1 and isinstance(items[0], list) and items[0] and all(isinstance(item, dict) for item in items[0]):
        return Held(items[0])
    lists = [name for name, item in value.items() if isinstance(item, list)]
    if len(lists) == 1 and lists[0].lower() in NAMES_OF_RECORDS and all(map(is_fact, value.values())):
        held = value[lists[0]]
        if held and all(isinstance(item, dict) for item in held):
            return Held(held, f"an object with its records in `{lists[0]}`; its other fields were left out")
    if all(isinstance(item, str) for item in items) and all(HAS_DIGIT.search(name) for name in value):
        return Held(({"text": item} for item in items), "texts by their names, each of which was read as a record")
    if len(lists) == len(value) and len(items[0]) > 1 and {len(item) for item in items} == {len(items[0])}:
        by_row = (dict(zip(value, row, strict=True)) for row in zip(*items, strict=True))
        return Held(by_row, "columns of values, each row of which was read as a record")
    if set(value) == {"columns", "index", "data"} and all(isinstance(item, list) for item in items):
        columns, rows = value["columns"], value["data"]
        if all(isinstance(row, list) and len(row) == len(columns) for row in rows):
            return Held(
                (dict(zip(map(str, columns), row, strict=True)) for row in rows),
                "columns and rows, as pandas writes them",
            )
    if not all(isinstance(item, dict) for item in items):
        return None
    rows_of_first = list(items[0])
    if rows_of_first == [str(row) for row in range(len(rows_of_first))] and all(
        list(item) == rows_of_first for item in items
    ):
        by_row = ({name: column[row] for name, column in value.items()} for row in rows_of_first)
        return Held(by_row, "columns of values by row, as pandas writes them") if rows_of_first else None
    if len(items) > 1 and are_alike(items):
        return Held(items, "an object of objects, each of which was read as a record, without its name")
    return None


def is_fact(value: Any) -> bool:
    """Whether a value beside a list of records may be left out: it is the list, or no long text."""
    return not isinstance(value, str) or len(value) <= LONGEST_FACT


def are_alike(items: list[dict[str, Any]]) -> bool:
    """Whether objects have the same fields, with values of the same types but for nulls."""
    types = {name: type(value) for name, value in items[0].items()}
    return bool(types) and all(
        item.keys() == types.keys()
        and all(type(None) in (kind, type(item[name])) or type(item[name]) is kind for name, kind in types.items())
        for item in items
    )


def field_of(value: Any, field: str) -> Any:
    """What an object has under a field.

    Args:
        value: The object.
        field: Its name; dots lead into objects, where no field has the name as it is.

    Raises:
        KeyError: If there is none.
    """
    if isinstance(value, dict) and field in value:
        return value[field]
    name, dot, rest = field.partition(".")
    if not dot or not isinstance(value, dict) or name not in value:
        raise KeyError(field)
    return field_of(value[name], rest)


def lists_of_records(value: Any, depth: int = FIELD_DEPTH) -> Iterator[tuple[str, int]]:
    """The fields of an object that have several objects each: their names and how many."""
    if not isinstance(value, dict) or not depth:
        return
    for name, item in value.items():
        if isinstance(item, list) and len(item) > 1 and all(isinstance(each, dict) for each in item):
            yield name, len(item)
        for inner, count in lists_of_records(item, depth - 1):
            yield f"{name}.{inner}", count
