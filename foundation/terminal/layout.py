"""Text in as many columns as there are. Widths are counted in a terminal's cells, of which a Chinese character has two.

rich knows how wide each character is.
"""

import re
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

HANG = 4
"""By how many columns the further lines of a paragraph stand in where nothing in its first says better."""
LEAST_ROOM = 28
"""A paragraph whose lines would be shorter stands in by no more than `HANG`."""
LEAST_WIDTH = 8
"""Of a table's column that is cut where a line would be too long."""
GAP = "  "

__all__ = ["cell_len", "cropped", "hang_of", "padded", "table", "wrapped"]


def cropped(text: str, columns: int) -> str:
    """The beginning of a text, in at most so many columns."""
    return text if cell_len(text) <= columns else set_cell_size(text, max(columns, 0)).rstrip()


def padded(text: str, columns: int, right: bool = False) -> str:
    """A text with blanks behind it, or before it, so that it fills so many columns."""
    blanks = " " * (columns - cell_len(text))
    return blanks + text if right else text + blanks


def hang_of(text: str, columns: int) -> int:
    """Where the further lines of a paragraph begin: where the last column of its first line does."""
    gaps = [found.end() for found in re.finditer(r"(?<=\S) {2,}(?=\S)", text)]
    hang = cell_len(text[: gaps[-1]]) if gaps else HANG
    return hang if columns - hang >= LEAST_ROOM else min(HANG, max(columns // 4, 0))


def wrapped(text: str, columns: int, hang: int | None = None) -> list[str]:
    """A text as lines of at most so many columns, broken at blanks.

    A word that is longer than a line, such as a path, stays whole, so that it can be copied: the terminal breaks it.

    Args:
        text: Without line breaks.
        columns: The most that a line may have.
        hang: By how many columns all lines but the first stand in; None for what `hang_of` says.
    """
    if cell_len(text) <= columns:
        return [text]
    indent = " " * (hang_of(text, columns) if hang is None else hang)
    lines, line = [], ""
    for word in re.findall(r" *[^ ]+", text):
        if line.strip() and cell_len(line + word) > columns:
            lines.append(line)
            line = indent + word.lstrip()
        else:
            line += word
        # Between characters of two cells there may be a break everywhere.
        while cell_len(word) > len(word) and cell_len(line) > columns:
            first = _beginning(line, columns)
            if len(first) <= len(indent):
                break
            lines.append(first)
            line = indent + line[len(first) :]
    return [*lines, line]


def _beginning(text: str, columns: int) -> str:
    """As many of a text's characters as have room in so many columns."""
    cells = 0
    for place, character in enumerate(text):
        cells += cell_len(character)
        if cells > columns:
            return text[:place]
    return text


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    cut: int,
    right: Sequence[int] = (),
    columns: int,
    drop: Sequence[int] = (),
) -> str:
    """Rows in columns as wide as what they hold, one of which is cut where a line would be too long.

    Args:
        heads: The columns' names.
        rows: The cells.
        cut: Which column is cut.
        right: Which columns are flush right.
        columns: The most that a line may have.
        drop: Columns to leave out, one after another, where a line would still be too long.
    """
    lines = [list(heads), *map(list, rows)]
    widths = [max(cell_len(line[place]) for line in lines) for place in range(len(heads))]
    kept = list(range(len(heads)))
    least = [min(width, LEAST_WIDTH) if place == cut else width for place, width in enumerate(widths)]
    for place in drop:
        if sum(least[each] + len(GAP) for each in kept) - len(GAP) <= columns:
            break
        kept.remove(place)
    over = sum(widths[each] + len(GAP) for each in kept) - len(GAP) - columns
    widths[cut] = max(least[cut], widths[cut] - max(over, 0))
    shown = []
    for line in lines:
        if cell_len(line[cut]) > widths[cut]:
            line[cut] = _shortened(line[cut], widths[cut])
        cells = (padded(line[place], widths[place], place in right) for place in kept)
        shown.append(GAP.join(cells).rstrip())
    return "\n".join(shown)


def _shortened(text: str, columns: int) -> str:
    """A text with dots in place of what there is no room for: its end, or of a path, whose end says most, its start."""
    if "/" not in text:
        return f"{cropped(text, columns - 1)}…"
    while cell_len(text) >= columns:
        text = text[1:]
    return f"…{text}"
