"""A comparison of runs for a terminal: aligned columns, one a run, under letters that stand for the runs."""

import textwrap
from collections.abc import Iterator, Sequence

from runners.report.comparison import Comparison

COLUMNS = 80
BEST = "*"
GAP = "  "
LEAST_LABEL = 24


def as_text(comparison: Comparison, columns: int = COLUMNS) -> str:
    """The verdicts, the metrics and the settings that differ.

    Args:
        comparison: The runs.
        columns: The most that a line may have.
    """
    lines = [line for each in comparison.verdicts for line in _wrapped(each, columns)]
    if len(comparison.runs) > 2 or not comparison.same_questions:
        lines += _wrapped(comparison.comparability, columns)
    lines += ["", *(f"{letter}{GAP}{name}" for letter, name in zip(comparison.letters, comparison.names, strict=True))]
    metrics = [
        (
            row.label,
            *(f"{row.shown(value)}{BEST if place in row.best else ' '}" for place, value in enumerate(row.values)),
        )
        for row in comparison.metrics
    ]
    if metrics:
        lines += ["", *_table(["metric", *(f"{letter} " for letter in comparison.letters)], metrics, columns)]
        if any(row.best for row in comparison.metrics):
            lines += [f"{BEST} the best"]
    settings = comparison.settings()
    lines += [""]
    if settings:
        lines += _table(["setting that differs", *comparison.letters], settings, columns)
    else:
        lines += ["All ran the same configuration."]
    return "\n".join(line.rstrip() for line in lines)


def _wrapped(text: str, columns: int) -> list[str]:
    return textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    """Rows in columns; those that don't fit beside each other follow below, under the labels once more."""
    widths = [max(len(line[place]) for line in (heads, *rows)) for place in range(len(heads))]
    others = sum(len(GAP) + width for width in widths[1:])
    widths[0] = min(widths[0], max(LEAST_LABEL, columns // 2, columns - others))
    room = columns - widths[0] - len(GAP)
    widths[1:] = [min(width, room) for width in widths[1:]]
    place = 1
    while place < len(heads):
        used, end = widths[0], place
        while end < len(heads) and used + len(GAP) + widths[end] <= columns:
            used += len(GAP) + widths[end]
            end += 1
        shown = range(place, end)
        for line in (heads, *rows):
            cells = [_cut(line[0], widths[0]).ljust(widths[0])]
            cells += [_cut(line[each], widths[each]).rjust(widths[each]) for each in shown]
            yield GAP.join(cells)
        place = end
        if place < len(heads):
            yield ""


def _cut(cell: str, width: int) -> str:
    """A cell that fits; of a longer one, both ends, which tell a path or a name from others."""
    cell = " ".join(cell.split(" "))
    if len(cell) <= width:
        return cell
    end = width // 2
    return f"{cell[: width - end - 1]}…{cell[len(cell) - end :]}"
