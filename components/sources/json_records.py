"""Reads records from JSON files as streams, and says where a file is malformed.

Memory holds one record at a time (an array is decoded item by item), except that a file whose one value is an object
is read whole.
"""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from components.sources import readers
from components.sources.readers import Place, Reading, Records
from components.sources.record_objects import Held, field_of, held_records, lists_of_records
from foundation.errors import ConfigError, DataError

CHUNK_CHARACTERS = 1 << 20
EXCERPT_CHARACTERS = 40
DECODER = json.JSONDecoder()


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
    if reading.field is not None:
        yield from read_field(path, reading, reading.field)
        return
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
        if first:
            note_lists(place, value, reading)
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
        note_lists(place, value, reading)
        yield place, as_record(place, value)


def note_lists(place: Place, value: Any, reading: Reading) -> None:
    """Notes the lists of records in what was read as a record, for the case that it is the only one."""
    reading.lists[place.path] = [f"`{name}` ({count:,})" for name, count in lists_of_records(value)]


def read_field(path: Path, reading: Reading, field: str) -> Records:
    """The records that one field of a file's object holds; the file is read whole.

    Raises:
        DataError: If the file is malformed.
        ConfigError: If it isn't one object, or has no records there.
    """
    text = "".join(line for _, line in readers.lines_of(path, reading.encoding))
    place = Place(path, 1)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if not follows_object(error):
            raise malformed(Place(path, error.lineno), describe(error)) from error
        value = None
    except (ValueError, RecursionError) as error:
        raise malformed(place, str(error)) from error
    if not isinstance(value, dict):
        what = "an array" if isinstance(value, list) else "several objects" if value is None else "no object"
        raise ConfigError(
            "ingest.field must be given only with files of JSON that are one object each",
            received=f"{field!r} with {path}, which holds {what}",
            remedy="leave out --ingest.field",
        )
    try:
        found = field_of(value, field)
    except KeyError:
        found = None
    held = held_records(found)
    if isinstance(found, list) and all(isinstance(each, (dict, str)) for each in found[:1]):
        held = Held(found) if found else None
    if held is None:
        lists = [f"{name} ({count:,})" for name, count in lists_of_records(value)]
        raise ConfigError(
            "ingest.field must name a field that holds a list of records, or an object of records",
            received=f"{field!r} with {path}, which has {'nothing' if found is None else 'no records'} there",
            remedy=f"give one of {', '.join(lists)}" if lists else "leave out --ingest.field, or name another file",
        )
    yield from ((place, as_record(place, record)) for record in held.records)


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


def unwrapped(place: Place, held: Held, reading: Reading) -> Records:
    """The records in an object that holds them."""
    if held.how is not None:
        reading.guesses[place.path] = f"{place.path.name} holds {held.how}"
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
