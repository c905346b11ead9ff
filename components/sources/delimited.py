"""Reads records from CSV and TSV files, in the forms that spreadsheets, databases and public data sets give them.

What divides the cells, whether quotes are doubled or follow a backslash, and whether the first row names the columns
is found in the first rows; what isn't plain CSV is said.
"""

import contextlib
import csv
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.sources.readers import Place, Reading, Records, lines_of, malformed

if TYPE_CHECKING:
    import _csv

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
LARGEST_CELL = 1 << 30  # characters; the csv module's own limit, 131,072, is less than a long answer
FIRST_ROWS = 20
"""How many rows are looked at besides the first."""
WORDS_OF_A_NAME = 10
"""A first row with a cell of more words than this may be a record."""
LINES_LOOKED_AT = 1000
"""In so many lines of a file, backslashes before quotes are looked for."""
SEPARATOR_LINE = "sep="
"""How the line begins by which a file tells Excel what divides its cells."""


@dataclasses.dataclass(frozen=True)
class Form:
    """How a file divides into cells.

    Attributes:
        delimiter: What is between the cells.
        escaped: Whether a quote in a cell follows a backslash, rather than another quote.
        spaced: Whether blanks follow the delimiters.
        named: Whether the first row names the columns.
    """

    delimiter: str = ","
    escaped: bool = False
    spaced: bool = False
    named: bool = True

    @property
    def between(self) -> str:
        """What is between the cells, in words."""
        return DELIMITERS.get(self.delimiter, repr(self.delimiter))

    def rows(self, lines: Iterator[str]) -> "_csv.Reader":
        """The rows of cells in lines."""
        return csv.reader(
            lines,
            strict=True,
            delimiter=self.delimiter,
            doublequote=not self.escaped,
            escapechar="\\" if self.escaped else None,
            skipinitialspace=self.spaced,
        )


def read_csv(path: Path, reading: Reading) -> Records:
    """Reads one record a row. Every cell is text, cells missing at the end are null.

    The first row names the columns. Where it is a record, as a long text in it shows, they are `column_1`, `column_2`
    and so on. A column without a name is called `Unnamed: 2` by its place, and one with the name of another `text.1`,
    as pandas does.

    Raises:
        DataError: If a row has more cells than the first, or quotes don't match.
    """
    yield from read_cells(path, reading, form_of(path, reading, tuple(DELIMITERS)))


def read_tsv(path: Path, reading: Reading) -> Records:
    """Reads one record a row, as `read_csv` does, with a tab between cells."""
    yield from read_cells(path, reading, form_of(path, reading, ("\t",)))


def form_of(path: Path, reading: Reading, delimiters: Sequence[str]) -> Form:
    """How a file divides into cells: by the first delimiter, unless its first row has none but another divides it.

    The second row must be divided into as many cells then.

    Args:
        path: The file.
        reading: How files are read. What was guessed is noted there.
        delimiters: What may be between the cells.
    """
    first = next((line.strip("\r\n") for _, line in lines_of(path, reading.encoding)), "")
    if first.startswith(SEPARATOR_LINE) and len(first) == len(SEPARATOR_LINE) + 1:
        delimiters = (first[-1],)
    form, rows, notes = Form(delimiters[0]), first_rows(path, reading, Form(delimiters[0])), []
    for delimiter in delimiters[1:] if rows and len(rows[0]) == 1 else ():
        others = first_rows(path, reading, Form(delimiter))
        if len(others) > 1 and 1 < len(others[0]) == len(others[1]):
            form, rows = Form(delimiter), others
            notes.append(f"was read with {form.between} between its cells")
            break
    escaped = dataclasses.replace(form, escaped=True)
    if not rows and has_escaped_quotes(path, reading) and (others := first_rows(path, reading, escaped)):
        form, rows = escaped, others
        notes.append("was read with a backslash before each quote in its cells")
    if rows and len(rows[0]) > 1 and all(cell[:1] == " " for cell in rows[0][1:]):
        form = dataclasses.replace(form, spaced=True)
        rows = first_rows(path, reading, form) or rows
    if is_record(rows):
        form = dataclasses.replace(form, named=False)
        notes.append("has a record in its first row, so its columns were called column_1, column_2 and so on")
    if notes:
        reading.guesses[path] = f"{path.name} {', and '.join(notes)}"
    return form


def first_rows(path: Path, reading: Reading, form: Form) -> list[list[str]]:
    """The first rows of a file, without empty ones; none where they aren't of this form."""
    lines = (line for _, line in lines_of(path, reading.encoding) if not line.isspace())
    with contextlib.suppress(csv.Error), large_cells():
        rows = (cells for cells in form.rows(lines) if cells and not tells_delimiter(cells))
        return list(itertools.islice(rows, 1 + FIRST_ROWS))
    return []


def has_escaped_quotes(path: Path, reading: Reading) -> bool:
    """Whether a backslash stands before a quote in the first lines of a file."""
    lines = itertools.islice(lines_of(path, reading.encoding), LINES_LOOKED_AT)
    return any('\\"' in line for _, line in lines)


def tells_delimiter(cells: list[str]) -> bool:
    """Whether a row is Excel's line that tells what divides the cells."""
    return cells == [SEPARATOR_LINE, ""]


def is_record(rows: list[list[str]]) -> bool:
    """Whether the first row is a record: it has a long text, and no name above cells without letters."""
    if not rows or max(len(cell.split()) for cell in rows[0]) <= WORDS_OF_A_NAME:
        return False
    return not any(
        has_letters(name) and any(filled) and not any(map(has_letters, filled))
        for column, name in enumerate(rows[0])
        for filled in [[row[column] for row in rows[1:] if column < len(row)]]
    )


def has_letters(text: str) -> bool:
    """Whether there is a letter in a text."""
    return any(map(str.isalpha, text))


def names_of(cells: list[str], path: Path, reading: Reading) -> list[str]:
    """The columns' names, each once."""
    names = [cell.strip() or f"Unnamed: {number}" for number, cell in enumerate(cells)]
    given, unlike = set(names), dict[str, str]()
    for name in names:
        one, number = name, 0
        while one in unlike or (number and one in given):
            number += 1
            one = f"{name}.{number}"
        unlike[one] = name
    repeated = [f"`{one}`" for one, name in unlike.items() if one != name]
    if repeated:
        before = f"{reading.guesses[path]}, and " if path in reading.guesses else f"{path.name} "
        reading.guesses[path] = (
            f"{before}has columns of the same name, of which the later ones were called {', '.join(repeated[:3])}"
        )
    return list(unlike)


@contextlib.contextmanager
def large_cells() -> Iterator[None]:
    """Lets the csv module read large cells."""
    limit = csv.field_size_limit(LARGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def read_cells(path: Path, reading: Reading, form: Form) -> Records:
    """Reads one record a row of cells.

    Raises:
        DataError: If a row has more cells than the first, or quotes don't match.
    """
    rule = (
        f'a CSV file must have cells with {form.between} between them, quoted by " where one has a quote or what is '
        "between cells, and no row with more cells than the first"
    )
    rows = form.rows(line for _, line in lines_of(path, reading.encoding))
    columns: list[str] = []
    try:
        line = 1
        with large_cells():
            for cells in rows:
                place, line = Place(path, line), rows.line_num + 1
                if not cells:
                    reading.blank_lines[path] += 1
                    continue
                if not columns:
                    if tells_delimiter(cells):
                        continue
                    if form.named:
                        columns = names_of(cells, path, reading)
                        continue
                    columns = [f"column_{number}" for number in range(1, len(cells) + 1)]
                if len(cells) > len(columns):
                    raise malformed(place, f"{len(cells)} cells under {len(columns)} column names", rule=rule)
                yield place, dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise malformed(Place(path, max(rows.line_num, 1)), str(error), rule=rule) from error
