"""Opens files as streams of lines, reads records from text and CSV files, and says where a file is malformed.

Memory holds one record at a time.
"""

import contextlib
import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from components.sources.encodings import GZIP, HEAD_BYTES, Encoding, encoding_of
from foundation.errors import DataError

LARGEST_CSV_CELL = 1 << 30  # characters; the csv module's own limit, 131,072, is less than a long answer


class Place(NamedTuple):
    """The place in a file where a record begins.

    Attributes:
        path: The file.
        line: The line, counted from 1.
    """

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}"


Records = Iterator[tuple[Place, dict[str, Any]]]


def malformed(place: Place, what: str, *, rule: str) -> DataError:
    """The error for a file that breaks its format."""
    return DataError(rule, received=f"{place}: {what}", remedy="correct or remove that line, or write the file anew")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for reading bytes, decompressed where it holds gzip data, whatever its name.

    Raises:
        DataError: If it can't be opened or read, or its compressed data is damaged.
    """
    with read_errors(path), open(path, "rb") as file:
        yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if file.peek(2).startswith(GZIP) else file


def is_gzip(path: Path) -> bool:
    """Whether a file holds gzip data, whatever its name.

    Raises:
        DataError: If it can't be read.
    """
    with read_errors(path), open(path, "rb") as file:
        return file.read(2) == GZIP


@contextlib.contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turns the errors of reading a file into one that names the file.

    Raises:
        DataError: If it can't be opened or read, or its compressed data is damaged.
    """
    try:
        yield
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            "a gzip file must hold complete gzip data",
            received=f"{path}: {error}",
            remedy="download or compress it anew",
        ) from error
    except OSError as error:
        if error.errno is None:
            raise  # Arrow raises these about the file's content
        raise DataError(
            "a source file must be readable",
            received=f"{path}: {error.strerror or error}",
            remedy="give yourself permission to read it, or another file with --ingest.path",
        ) from error


def encoding(path: Path, given: str | None = None) -> Encoding:
    """How a file is encoded.

    Args:
        path: The file.
        given: The value of `ingest.encoding`.

    Raises:
        DataError: If the file can't be read, holds no text, or contradicts the given encoding.
    """
    with opened(path) as file:
        return encoding_of(path, file.read(HEAD_BYTES), given)


def undecodable(place: Place, error: UnicodeDecodeError, given: str | None) -> DataError:
    """The error for bytes that are not in the file's encoding."""
    found = error.object[error.start : error.start + 4].hex(" ")
    other = "another" if given else "its"
    return DataError(
        "a source file must be text in one encoding: UTF-8, UTF-16 or UTF-32 with a byte order mark, or what "
        "ingest.encoding names",
        received=f"{place}: bytes {found}, which are not {error.encoding}",
        remedy=f"give {other} encoding with --ingest.encoding (windows-1252, shift_jis, gb18030, …: the bytes don't "
        "tell which, whoever wrote the file knows), or convert the file to UTF-8",
    )


def refuse_zeros(place: Place, text: str, encoding: str) -> None:
    """Refuses a text with NUL characters, which no text should have.

    Raises:
        DataError: If there is one. `place` may be that of the line, or of an earlier line.
    """
    if "\0" in text:
        line = place.line + text.count("\n", 0, text.index("\0"))
        raise DataError(
            "a source file must be text, without zero bytes",
            received=f"{Place(place.path, line)}: a zero byte, read as {encoding}",
            remedy="if the file is in UTF-16 or UTF-32, name which with --ingest.encoding (utf-16-le, utf-16-be, "
            "utf-32-le, utf-32-be); else it is damaged or no text: write it anew",
        )


def lines_of(path: Path, given: str | None = None) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, from 1. Line ends are kept, a byte order mark is left out.

    Args:
        path: The file.
        given: The value of `ingest.encoding`.

    Raises:
        DataError: If the file can't be read, isn't in its encoding, or holds zero bytes.
    """
    found = encoding(path, given)
    number = 0
    # Lines end at "\n" alone, and keep what ends them.
    with opened(path) as file, io.TextIOWrapper(file, found.name, newline="\n") as lines:
        file.read(found.mark)
        try:
            for number, line in enumerate(lines, 1):
                refuse_zeros(Place(path, number), line, found.name)
                yield number, line
        except UnicodeDecodeError as error:
            raise undecodable(Place(path, number + 1 + lines_before(error)), error, given) from error


def lines_before(error: UnicodeDecodeError) -> int:
    """The number of line ends before the wrong bytes, in what was decoded together with them."""
    return error.object[: error.start].decode(error.encoding, "ignore").count("\n")


def read_text(path: Path, blank_lines: Counter[Path], encoding: str | None = None) -> Records:
    """Reads one record a line, with the field `text`. Blank lines are counted and left out."""
    for number, line in lines_of(path, encoding):
        if line.isspace():
            blank_lines[path] += 1
        else:
            yield Place(path, number), {"text": line.rstrip("\r\n")}


def read_csv(path: Path, blank_lines: Counter[Path], encoding: str | None = None) -> Records:
    """Reads one record a row. The first row names the fields, every cell is text, cells missing at the end are null.

    Raises:
        DataError: If a row has more cells than the first, two columns share a name, or quotes don't match.
    """
    rule = 'a CSV file must have comma-separated cells, quoted by ", and a first row that names each column once'
    rows = csv.reader((line for _, line in lines_of(path, encoding)), strict=True)
    columns: list[str] = []
    limit = csv.field_size_limit(LARGEST_CSV_CELL)
    try:
        line = 1
        for cells in rows:
            place, line = Place(path, line), rows.line_num + 1
            if not cells:
                blank_lines[path] += 1
            elif not columns:
                columns = cells
                repeated = [name for name, count in Counter(columns).items() if count > 1]
                if repeated:
                    raise malformed(place, f"the column name {repeated[0]!r} twice", rule=rule)
            elif len(cells) > len(columns):
                raise malformed(place, f"{len(cells)} cells under {len(columns)} column names", rule=rule)
            else:
                yield place, dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise malformed(Place(path, max(rows.line_num, 1)), str(error), rule=rule) from error
    finally:
        csv.field_size_limit(limit)
