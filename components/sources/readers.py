"""Opens files as streams of lines, reads records from text and CSV files, and says where a file is malformed.

Memory holds one record at a time.
"""

import contextlib
import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from components.errors import DataError

LARGEST_CSV_CELL = 1 << 30  # characters; the csv module's own limit, 131,072, is less than a long answer


class Place(NamedTuple):
    """Where a record begins.

    Attributes:
        path: The file.
        line: Counted from 1.
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
    """Opens a file for reading bytes, unpacked where its name ends in `.gz`.

    Raises:
        DataError: If it can't be opened or read, or its compressed data is damaged.
    """
    with reading(path), open(path, "rb") as file:
        yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if path.suffix.lower() == ".gz" else file


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns the failures of reading a file into the error that names it.

    Raises:
        DataError: If it can't be opened or read, or its compressed data is damaged.
    """
    try:
        yield
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            "a .gz file holds complete gzip data", received=f"{path}: {error}", remedy="download or compress it anew"
        ) from error
    except OSError as error:
        if error.errno is None:
            raise  # Arrow's, about what the file holds
        raise DataError(
            "a source file can be read",
            received=f"{path}: {error.strerror or error}",
            remedy="give yourself permission to read it, or another file with --ingest.path",
        ) from error


def not_utf8(place: Place, error: UnicodeDecodeError) -> DataError:
    """The error for bytes that are not UTF-8."""
    found = error.object[error.start : error.start + 4].hex(" ")
    return DataError(
        "a source file is encoded in UTF-8",
        received=f"{place}: bytes {found}",
        remedy=f"convert it, e.g. iconv -f WINDOWS-1252 -t UTF-8 {place.path.name}",
    )


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers, from 1, line ends included, a byte order mark left out.

    Raises:
        DataError: If the file can't be read or isn't UTF-8.
    """
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise not_utf8(Place(path, number), error) from error


def read_text(path: Path, blank_lines: Counter[Path]) -> Records:
    """One record a line, in the field `text`; blank lines are counted and left out."""
    for number, line in lines_of(path):
        if line.isspace():
            blank_lines[path] += 1
        else:
            yield Place(path, number), {"text": line.rstrip("\r\n")}


def read_csv(path: Path, blank_lines: Counter[Path]) -> Records:
    """One record a row, its fields named by the first row, every cell as text; missing cells at a row's end are null.

    Raises:
        DataError: If a row has more cells than the first, two columns share a name, or quotes don't match.
    """
    rule = 'a CSV file has comma-separated cells, quoted by ", and a first row that names each column once'
    rows = csv.reader((line for _, line in lines_of(path)), strict=True)
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
