"""A root's runs and artifacts, as two tables for a terminal."""

import datetime
from collections.abc import Sequence

from foundation.perplexity import perplexity_text
from runners.housekeeping.inventory import Directory, Inventory, Run

COLUMNS = 80
NOTHING = "–"
LEAST_WIDTH = 8
"""Of the column that is cut where a line would be too long."""
UNITS = ("B", "kB", "MB", "GB", "TB")


def as_text(inventory: Inventory, columns: int = COLUMNS) -> str:
    """Both tables, and what can't be read.

    Args:
        inventory: What the root holds.
        columns: The most that a line may have.
    """
    now = datetime.datetime.now(datetime.UTC)
    runs = [_run_row(run, inventory, now) for run in reversed(inventory.runs)]
    heads = ["run", "config", "status", "perplexity", "size", "time", "age"]
    parts = [table(heads, runs, cut=1, right=(3, 4, 5, 6), columns=columns) if runs else "no runs"]
    users = _users(inventory)
    artifacts = [_artifact_row(each, users, now) for each in inventory.directories]
    heads = ["step", "key", "size", "age", "used by"]
    parts.append(table(heads, artifacts, cut=4, right=(2, 3), columns=columns) if artifacts else "no artifacts")
    total = size_text(sum(each.bytes for each in inventory.directories))
    parts.append(
        f"{count(len(inventory.runs), 'run')} and {count(len(inventory.artifacts), 'artifact')} in {inventory.root}: "
        f"{total}\nAn artifact counts in the size of every run that uses it."
    )
    damages = [f"damaged: {each.damage}" for each in inventory.runs if each.damage]
    damages += [f"damaged: {each.damage}" for each in inventory.artifacts.values() if each.damage]
    return "\n\n".join([*parts, *(["\n".join(damages)] if damages else [])])


def _run_row(run: Run, inventory: Inventory, now: datetime.datetime) -> list[str]:
    record = run.record
    if record is None:
        return [run.name, NOTHING, run.status, *[NOTHING] * 4]
    sizes = [inventory.artifacts[name].bytes for name in run.artifacts.values() if name in inventory.artifacts]
    started, finished = _moment(record["started"]), _moment(record["finished"])
    end = now if run.is_running else finished
    perplexity = record["metrics"].get("perplexity_after")
    return [
        run.name,
        record["configuration"] or NOTHING,
        run.status,
        NOTHING if perplexity is None else perplexity_text(perplexity),
        size_text(sum(sizes)) if sizes else NOTHING,
        NOTHING if started is None or end is None else span_text(end - started),
        NOTHING if started is None else age_text(now - started),
    ]


def _artifact_row(each: Directory, users: dict[str, list[str]], now: datetime.datetime) -> list[str]:
    created = _moment(each.manifest.get("created")) if each.manifest else None
    names = users.get(each.path.relative_to(each.path.parents[2]).as_posix(), [])
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    used_by = f"{names[0]}{more}" if names else NOTHING
    return [each.step, each.path.name, size_text(each.bytes), age_text(now - (created or each.changed)), used_by]


def _users(inventory: Inventory) -> dict[str, list[str]]:
    """The runs that use an artifact, by its name, the newest first."""
    users: dict[str, list[str]] = {}
    for run in reversed(inventory.runs):
        for name in {*run.artifacts.values(), *run.in_use}:
            users.setdefault(name, []).append(run.name)
    return users


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, cut: int, right: Sequence[int], columns: int) -> str:
    """Rows in columns as wide as what they hold, one of which is cut where a line would be too long.

    Args:
        heads: The columns' names.
        rows: The cells.
        cut: Which column is cut.
        right: Which columns are flush right.
        columns: The most that a line may have.
    """
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    over = sum(widths) + 2 * (len(widths) - 1) - columns
    widths[cut] = max(min(widths[cut], LEAST_WIDTH), widths[cut] - max(over, 0))
    shown = []
    for line in lines:
        if len(line[cut]) > widths[cut]:
            kept = widths[cut] - 1
            # What tells a path from others is its end.
            line[cut] = f"…{line[cut][-kept:]}" if "/" in line[cut] else f"{line[cut][:kept]}…"
        cells = (f"{cell:{'>' if place in right else '<'}{widths[place]}}" for place, cell in enumerate(line))
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def count(number: int, what: str) -> str:
    """A number of things: `1 run`, `2,000 runs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def size_text(size: int) -> str:
    """Bytes in a few characters: `512 B`, `4.2 MB`, `310 MB`."""
    value, unit = float(size), UNITS[0]
    for unit in UNITS:
        if value < 999.5 or unit == UNITS[-1]:
            break
        value /= 1000
    return f"{value:.1f} {unit}" if unit != UNITS[0] and value < 9.95 else f"{value:,.0f} {unit}"


def span_text(span: datetime.timedelta) -> str:
    """How long something took: `0:07`, `12:34`, `25:01:00`."""
    minutes, seconds = divmod(max(0, round(span.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def age_text(span: datetime.timedelta) -> str:
    """How long ago something was: `40 s`, `5 min`, `3 h`, `12 d`."""
    seconds = max(0, round(span.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _moment(text: object) -> datetime.datetime | None:
    """A moment in ISO 8601; None where there is none."""
    try:
        moment = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
