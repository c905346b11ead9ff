"""Opens files as streams of lines, reads records from text files, and says where a file is malformed.

Memory holds one record at a time.
"""

import codecs
import contextlib
import dataclasses
import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from components.sources.compression import decompressed
from components.sources.encodings import HEAD_BYTES, Encoding, encoding_of
from foundation.errors import DataError


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
Reader = Callable[[Path, "Reading"], Records]
TextRecords = Literal["line", "paragraph", "file"]


@dataclasses.dataclass
class Reading:
    """How files are read, and what was found in them besides records.

    Attributes:
        encoding: The value of `ingest.encoding`.
        text_records: The value of `ingest.text_records`.
        field: The value of `ingest.field`.
        blank_lines: How many lines without a record each file has.
        guesses: A sentence for each thing that was guessed about a file, by file.
        lists: What looks like a list of records in a JSON file's first record, by file.
        names: The names of all columns, in their order, where only some are read.
    """

    encoding: str | None = None
    text_records: TextRecords = "paragraph"
    field: str | None = None
    blank_lines: Counter[Path] = dataclasses.field(default_factory=Counter)
    guesses: dict[Path, str] = dataclasses.field(default_factory=dict)
    lists: dict[Path, list[str]] = dataclasses.field(default_factory=dict)
    names: dict[str, None] = dataclasses.field(default_factory=dict)
    _by_paragraph: dict[Path, bool] = dataclasses.field(default_factory=dict)

    def is_by_paragraph(self, path: Path) -> bool:
        """Whether a text file is read by paragraphs; it is looked through once for that."""
        if path not in self._by_paragraph:
            self._by_paragraph[path] = self.text_records == "paragraph" and has_paragraphs(path, self.encoding)
        return self._by_paragraph[path]

    def add(self, other: "Reading") -> None:
        """Adds what was found in other files, which come after these."""
        self.blank_lines += other.blank_lines
        self.guesses |= other.guesses
        self.lists |= other.lists
        self.names |= other.names

    def begin_anew(self) -> None:
        """Forgets what was found, because the files are read once more."""
        self.blank_lines.clear()
        self.guesses.clear()


def malformed(place: Place, what: str, *, rule: str) -> DataError:
    """The error for a file that breaks its format."""
    return DataError(rule, received=f"{place}: {what}", remedy="correct or remove that line, or write the file anew")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for reading bytes, decompressed where it holds compressed data, whatever its name.

    Raises:
        DataError: If it can't be opened or read, or its compressed data is damaged.
    """
    with read_errors(path), decompressed(path) as file:
        yield file


@contextlib.contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turns the errors of reading a file into one that names the file.

    Raises:
        DataError: If it can't be opened or read.
    """
    try:
        yield
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
    before = error.object[: error.start]
    if error.encoding == "utf-8" and not before.isascii():
        return DataError(
            "a source file must be text in one encoding",
            received=f"{place}: bytes {found}, which are not utf-8, as what is before them is",
            remedy="correct or remove these bytes (iconv -c -f UTF-8 -t UTF-8 FILE > NEW leaves all such out)",
        )
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


def lines_of(path: Path, given: str | None = None, *, any_ends: bool = False) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, from 1. Line ends are kept, a byte order mark is left out.

    Args:
        path: The file.
        given: The value of `ingest.encoding`.
        any_ends: Whether a carriage return ends a line by itself, too, as on old Macs; each end is a line feed then.
            In a file that begins without line feeds, but with carriage returns, they do in any case.

    Raises:
        DataError: If the file can't be read, isn't in its encoding, or holds zero bytes.
    """
    found = encoding(path, given)
    number = 0
    # Lines end at "\n" alone, and keep what ends them: a carriage return may be part of a cell.
    newline = None if any_ends or ends_by_returns(path, found) else "\n"
    with opened(path) as file, io.TextIOWrapper(file, found.name, newline=newline) as lines:
        file.read(found.mark)
        try:
            for number, line in enumerate(lines, 1):
                if "\0" in line:
                    refuse_zeros(Place(path, number), line, found.name)
                yield number, line
        except UnicodeDecodeError as error:
            raise undecodable(Place(path, number + 1 + lines_before(error)), error, given) from error


def ends_by_returns(path: Path, found: Encoding) -> bool:
    """Whether the lines of a file end by carriage returns alone, as Excel's "CSV (Macintosh)" has them."""
    with opened(path) as file:
        head = codecs.getincrementaldecoder(found.name)("ignore").decode(file.read(HEAD_BYTES))
    return "\r" in head[:-1] and "\n" not in head


def lines_before(error: UnicodeDecodeError) -> int:
    """The number of line ends before the wrong bytes, in what was decoded together with them."""
    return error.object[: error.start].decode(error.encoding, "ignore").count("\n")


def read_text(path: Path, reading: Reading) -> Records:
    """Reads the records of a text file, with the field `text`: its paragraphs, its lines, or all of it.

    A paragraph ends at a blank line; in a file that has none between its lines, each line is one. The line ends within
    a record stay.
    """
    lines = lines_of(path, reading.encoding, any_ends=True)
    if reading.text_records == "file":
        text = "".join(line for _, line in lines)
        if text and not text.isspace():
            yield Place(path, 1), {"text": text.strip("\n")}
        return
    if not reading.is_by_paragraph(path):
        records, tabs = 0, set[int]()
        for number, line in lines:
            if line.isspace():
                reading.blank_lines[path] += 1
                continue
            records += 1
            tabs.add(line.count("\t"))
            if reading.text_records == "paragraph" and records == 2:
                reading.guesses[path] = (
                    f"{path.name} has no blank lines between paragraphs, so each line was read as a record"
                )
            yield Place(path, number), {"text": line.rstrip("\n")}
        if reading.text_records == "paragraph" and records > 1 and len(tabs) == 1 and tabs != {0}:
            reading.guesses[path] += "; the tabs in its lines were kept (if it is a table, rename it to .tsv)"
        return
    for is_blank, group in itertools.groupby(lines, key=lambda numbered: numbered[1].isspace()):
        if not is_blank:
            paragraph = list(group)
            yield Place(path, paragraph[0][0]), {"text": "".join(line for _, line in paragraph).rstrip("\n")}


def has_paragraphs(path: Path, encoding: str | None) -> bool:
    """Whether a text file has a blank line between two others."""
    are_blank = (line.isspace() for _, line in lines_of(path, encoding, any_ends=True))
    groups = [is_blank for is_blank, _ in itertools.islice(itertools.groupby(are_blank), 4)]
    return groups.count(False) > 1
