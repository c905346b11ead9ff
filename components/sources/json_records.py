"""Reads records from JSON files as streams, and says where a file is malformed.

Memory holds one record at a time (an array is decoded item by item), except that a file whose one value is an object
is read whole.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from components.sources import readers
from components.sources.readers import Place, Reading, Records
from foundation.errors import DataError

CHUNK_CHARACTERS = 1 << 20
EXCERPT_CHARACTERS = 40
DECODER = json.JSONDecoder()
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


def malformed(place: Place, what: str, *, rule: str = "a JSON file must hold valid JSON") -> DataError:
    """The error for a file that isn't JSON, or not JSON objects."""
    return readers.malformed(place, what, rule=rule)


def read_json(path: Path, reading: Reading) -> Records:
    """The records of a JSON file, whichever of its usual forms it has.

    The forms are: JSON Lines (an object a line); objects that each take several lines; an array of objects; one object,
    which is one record; and one object that holds the records, in one of the ways that `held_records` knows. In place
    of an object, a text is a record, too.

    Raises:
        DataError: If the file is malformed, or holds something other than objects.
    """
    found = readers.encoding(path, reading.encoding)
    with readers.opened(path) as file:
        file.read(found.mark)
        start = codecs.getincrementaldecoder(found.name)("ignore").decode(file.read(CHUNK_CHARACTERS))
    if start.lstrip().startswith("["):
        yield from read_json_array(path, reading.encoding)
    else:
        yield from read_json_lines(path, reading)


def read_json_lines(path: Path, reading: Reading) -> Records:
    """The records of a file with an object a line, or with one object over several lines."""
    first = True
    for number, line in readers.lines_of(path, reading.encoding):
        if line.isspace():
            reading.blank_lines[path] += 1
            continue
        place = Place(path, number)
        try:
            value = value_of(line.rstrip("\r\n"))  # without its end, an open string is reported as such
        except json.JSONDecodeError as error:
            # An object that ends on a later line breaks off at the end of this one.
            if first and error.pos >= len(line.rstrip()):
                yield from read_json_object(path, reading)
                return
            if first and follows_object(error):
                yield from read_json_values(path, reading)
                return
            raise malformed(place, describe(error)) from error
        except (ValueError, RecursionError) as error:
            raise malformed(place, str(error)) from error
        if first and (held := held_records(value)) is not None:
            rest = next((line for _, line in lines_after(path, number, reading.encoding) if not line.isspace()), None)
            if rest is None:
                yield from unwrapped(place, held, reading)
                return
        first = False
        yield place, as_record(place, value)


def value_of(line: str) -> Any:
    """What `json.loads` gives, somewhat sooner for an object that is all of a line.

    Raises:
        json.JSONDecodeError: If the line isn't JSON.
    """
    if line.startswith("{"):
        value, end = DECODER.raw_decode(line)
        if end == len(line):
            return value
    return json.loads(line)


def lines_after(path: Path, number: int, encoding: str | None = None) -> Iterator[tuple[int, str]]:
    """The lines of a file after the given one."""
    return ((other, line) for other, line in readers.lines_of(path, encoding) if other > number)


def read_json_object(path: Path, reading: Reading) -> Records:
    """The records of a file whose one value is an object, read whole."""
    text = "".join(line for _, line in readers.lines_of(path, reading.encoding))
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if follows_object(error):
            yield from read_json_values(path, reading)
            return
        raise malformed(Place(path, error.lineno), describe(error)) from error
    except (ValueError, RecursionError) as error:
        raise malformed(Place(path, 1), str(error)) from error
    place = Place(path, 1)
    if (held := held_records(value)) is not None:
        yield from unwrapped(place, held, reading)
    else:
        yield place, as_record(place, value)


def follows_object(error: json.JSONDecodeError) -> bool:
    """Whether an object follows where the decoder expected the end: one of several, whose lines aren't the records."""
    return error.msg == "Extra data" and error.doc[error.pos :].lstrip().startswith("{")


def read_json_values(path: Path, reading: Reading) -> Records:
    """The records of a file of objects one after the other, each over any number of lines, as `jq` prints them."""
    found = readers.encoding(path, reading.encoding)
    with readers.opened(path) as file:
        file.read(found.mark)
        text = JsonText(path, file, found.name, reading.encoding)
        while text.peek():
            place = text.place()
            yield place, as_record(place, text.decode(DECODER))


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
                (dict(zip(map(str, columns), row, strict=True)) for row in rows), "columns and rows, as of pandas"
            )
    if not all(isinstance(item, dict) for item in items):
        return None
    rows_of_first = list(items[0])
    if rows_of_first == [str(row) for row in range(len(rows_of_first))] and all(
        list(item) == rows_of_first for item in items
    ):
        by_row = ({name: column[row] for name, column in value.items()} for row in rows_of_first)
        return Held(by_row, "columns of values by row, as of pandas") if rows_of_first else None
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


def unwrapped(place: Place, held: Held, reading: Reading) -> Records:
    """The records in an object that holds them."""
    if held.how is not None:
        reading.guesses[place.path] = f"{place.path.name} is {held.how}"
    return ((place, record) for record in held.records)


def read_json_array(path: Path, encoding: str | None = None) -> Records:
    """The objects of a JSON array, decoded one by one from a buffer of bounded size."""
    decoder = json.JSONDecoder()
    found = readers.encoding(path, encoding)
    with readers.opened(path) as file:
        file.read(found.mark)
        text = JsonText(path, file, found.name, encoding)
        text.skip("[")
        if text.peek() == "]":
            text.skip("]")
        else:
            while True:
                place = text.place()
                yield place, as_record(place, text.decode(decoder))
                if text.peek() == "]":
                    text.skip("]")
                    break
                text.skip(",")
        if text.peek():
            raise malformed(text.place(), f"{text.excerpt()} after the array's end")


class JsonText:
    """The text of an open file, of which only what is being decoded is in memory."""

    def __init__(self, path: Path, file: BinaryIO, encoding: str, given: str | None) -> None:
        self.path = path
        self.file = file
        self.encoding = encoding
        self.given = given
        self.decoder = codecs.getincrementaldecoder(encoding)()
        self.buffer = ""
        self.position = 0  # in `buffer`
        self.line = 1  # of `position`
        self.ended = False

    def grow(self) -> None:
        """Forgets what was decoded, and reads on: at least as much again as is still in the buffer."""
        self.buffer = self.buffer[self.position :]
        self.position = 0
        data = self.file.read(max(CHUNK_CHARACTERS, len(self.buffer)))
        try:
            more = self.decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            lines = self.buffer.count("\n") + readers.lines_before(error)
            raise readers.undecodable(Place(self.path, self.line + lines), error, self.given) from error
        readers.refuse_zeros(Place(self.path, self.line + self.buffer.count("\n")), more, self.encoding)
        self.buffer += more
        self.ended = not data

    def advance(self, position: int) -> None:
        """Moves on to a position in the buffer."""
        self.line += self.buffer.count("\n", self.position, position)
        self.position = position

    def peek(self) -> str:
        """Moves on to the next character that isn't white space, and returns it; empty at the end."""
        while True:
            position = self.position
            while position < len(self.buffer) and self.buffer[position] in " \t\r\n":
                position += 1
            self.advance(position)
            if position < len(self.buffer):
                return self.buffer[position]
            if self.ended:
                return ""
            self.grow()

    def place(self) -> Place:
        """The place of the next character that isn't white space."""
        self.peek()
        return Place(self.path, self.line)

    def excerpt(self) -> str:
        """The text at the position, for a message."""
        return shown(self.buffer[self.position :]) if self.peek() else "the end of the file"

    def skip(self, expected: str) -> None:
        """Moves past the character that must come next."""
        if self.peek() != expected:
            raise malformed(self.place(), f"{self.excerpt()} where {expected!r} belongs")
        self.position += 1

    def decode(self, decoder: json.JSONDecoder) -> Any:
        """Decodes the next value and moves past it."""
        while True:
            self.peek()
            try:
                value, end = decoder.raw_decode(self.buffer, self.position)
            except json.JSONDecodeError as error:
                # A value that is cut off fails in an open string or within a literal's length of the buffer's end.
                cut_off = error.msg.startswith("Unterminated string") or error.pos >= len(self.buffer) - 10
                if cut_off and not self.ended:
                    self.grow()
                    continue
                line = self.line + self.buffer.count("\n", self.position, error.pos)
                raise malformed(Place(self.path, line), describe(error)) from error
            except (ValueError, RecursionError) as error:
                raise malformed(self.place(), str(error)) from error
            self.advance(end)
            return value


def as_record(place: Place, value: Any) -> dict[str, Any]:
    """The value, which must be an object; a text is one with the field `text`."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"text": value}
    names = {list: "a list", bool: "true or false", type(None): "null"}
    raise malformed(
        place,
        f"{names.get(type(value), 'a number')}: {shown(json.dumps(value))}",
        rule="a record must be a JSON object of named fields, or a text",
    )


def describe(error: json.JSONDecodeError) -> str:
    """What the decoder expected and what it found, with the position in the line only."""
    rest = error.doc[error.pos :]
    found = shown(rest) if rest.strip() else "the end of the " + ("line" if rest or "\n" in error.doc else "text")
    return f"{error.msg[0].lower()}{error.msg[1:]} (column {error.colno}), found {found}"


def shown(text: str) -> str:
    """The beginning of a text, quoted, for a message."""
    text = text.strip()
    return repr(text[:EXCERPT_CHARACTERS] + ("…" if len(text) > EXCERPT_CHARACTERS else ""))
