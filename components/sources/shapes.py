"""What the values of a field are over all records that differ, and the one Arrow type that holds them."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from components.sources.readers import Place
from foundation.errors import DataError

if TYPE_CHECKING:
    import pyarrow

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

    __slots__ = ("_plain", "fields", "first", "is_record", "is_table", "items", "names", "objects", "too_wide")

    def __init__(self, is_record: bool = False) -> None:
        self.is_record = is_record
        self.objects = 0
        self.names = 0
        self.is_table = False
        self.first: dict[type, Place] = {}
        self.items: Shape | None = None
        self.fields: dict[str, Shape] = {}
        self.too_wide = False
        self._plain: dict[tuple[Any, ...], list[str]] = {}

    def add_record(self, record: dict[str, Any], place: Place) -> None:
        """Adds one more record, as `add` does; of one with names and types like an earlier one's, only what may differ.

        Raises:
            DataError: If it is nested too deep.
        """
        alike = (*record, *map(type, record.values()))
        names = self._plain.get(alike)
        if names is None:
            self.add(record, place)
            if len(self._plain) < MOST_FIELDS:
                self._plain[alike] = [name for name, value in record.items() if type(value) in (int, dict, list)]
            return
        for name in names:
            self.fields[name].add(record[name], place, 1)

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

    def merge(self, later: "Shape") -> None:
        """Adds the values that another shape was made of, as if they had come after this one's.

        Whether objects are tables depends on the order of all of them: see `may_be_table`.
        """
        self.objects, self.names = self.objects + later.objects, self.names + later.names
        self.is_table, self.too_wide = self.is_table or later.is_table, self.too_wide or later.too_wide
        self.first = {**later.first, **self.first}
        if later.items is not None:
            self.items = self.items or Shape()
            self.items.merge(later.items)
        for name, field in later.fields.items():
            self.fields.setdefault(name, Shape()).merge(field)

    @property
    def may_be_table(self) -> bool:
        """Whether some objects are tables of names and values, or could have become one in another order of records."""
        if self.is_table or (len(self.fields) > MOST_FIELDS and not self.is_record):
            return True
        return any(part.may_be_table for part in (*self.fields.values(), *([self.items] if self.items else [])))

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
