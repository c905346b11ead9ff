"""A root's runs and artifacts, as two tables for a terminal, or as JSON for other programs."""

import datetime
import json
import math
from collections.abc import Sequence

from foundation.perplexity import perplexity_text
from foundation.terminal import cropped, size_text, table
from runners.housekeeping.inventory import Directory, Inventory
from runners.housekeeping.listed_runs import ListedRun, listed_runs, moment

COLUMNS = 80
NOTHING = "–"
LONGEST_CONFIGURATION = 30
"""Characters of a configuration's path that are shown; what tells it from others is its end."""


def as_text(inventory: Inventory, columns: int = COLUMNS) -> str:
    """Both tables, and what can't be read.

    Args:
        inventory: What the root holds.
        columns: The most that a line may have.
    """
    now = datetime.datetime.now(datetime.UTC)
    parts = [_runs_table(listed_runs(inventory), now, columns) if inventory.runs else "no runs"]
    users = _users(inventory)
    artifacts = [_artifact_row(each, users, now) for each in inventory.directories]
    heads = ["step", "key", "size", "age", "used by"]
    parts.append(
        table(heads, artifacts, cut=4, right=(2, 3), columns=columns, drop=(3, 2, 4)) if artifacts else "no artifacts"
    )
    total = size_text(sum(each.bytes for each in inventory.directories))
    parts.append(
        f"{count(len(inventory.runs), 'run')} and {count(len(inventory.artifacts), 'artifact')} in {inventory.root}: "
        f"{total}\nAn artifact counts in the size of every run that uses it."
    )
    damages = [f"damaged: {each.damage}" for each in inventory.runs if each.damage]
    damages += [f"damaged: {each.damage}" for each in inventory.artifacts.values() if each.damage]
    return "\n\n".join([*parts, *(["\n".join(damages)] if damages else [])])


def as_json(inventory: Inventory) -> str:
    """The same as JSON; numbers that JSON doesn't have are null."""
    users = _users(inventory)
    artifacts = [
        {
            "step": each.step,
            "key": each.path.name,
            "directory": str(each.path),
            "finished": each.manifest is not None,
            "bytes": each.bytes,
            "used_by": users.get(each.path.relative_to(inventory.root).as_posix(), []),
            "damage": each.damage,
        }
        for each in inventory.directories
    ]
    runs = [_finite(run.as_plain()) for run in listed_runs(inventory)]
    content = {"root": str(inventory.root), "runs": runs, "artifacts": artifacts}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _finite(content: dict[str, object]) -> dict[str, object]:
    return {key: None if isinstance(each, float) and not math.isfinite(each) else each for key, each in content.items()}


def _runs_table(runs: Sequence[ListedRun], now: datetime.datetime, columns: int) -> str:
    """A line of figures for each run, and below it what it is called, its configuration and what is served of it."""
    heads = ["run", "status", "perplexity", "verdict", "time", "age"]
    lines = table(heads, [_run_row(run, now) for run in runs], cut=2, right=(4, 5), columns=columns).splitlines()
    shown = [lines[0]]
    for line, run in zip(lines[1:], runs, strict=True):
        shown += [line, *([f"  {cropped(about, columns - 2)}"] if (about := _about(run)) else [])]
    return "\n".join(shown)


def _run_row(run: ListedRun, now: datetime.datetime) -> list[str]:
    return [
        run.id,
        run.status,
        perplexities(run),
        verdict_text(run),
        NOTHING if run.seconds is None else span_text(datetime.timedelta(seconds=run.seconds)),
        NOTHING if run.started is None else age_text(now - run.started),
    ]


def _about(run: ListedRun) -> str:
    """What a run is called, what it was, and what is served of it."""
    configuration = run.configuration
    if configuration and len(configuration) > LONGEST_CONFIGURATION:
        configuration = f"…{configuration[1 - LONGEST_CONFIGURATION :]}"
    parts = (run.name, configuration, None if run.bytes is None else size_text(run.bytes), served_text(run))
    return " · ".join(part for part in parts if part)


def perplexities(run: ListedRun) -> str:
    """A run's perplexity before and after training."""
    if run.perplexity_after is None:
        return NOTHING
    before = "" if run.perplexity_before is None else f"{perplexity_text(run.perplexity_before)} → "
    return f"{before}{perplexity_text(run.perplexity_after)}"


def verdict_text(run: ListedRun) -> str:
    """Whether a run's model is blessed, in a word or two."""
    return NOTHING if run.blessed is None else "blessed" if run.blessed else "not blessed"


def served_text(run: ListedRun) -> str | None:
    """What servers find of a run; None for nothing."""
    if run.served is None:
        return None
    how = "serves" if run.served.is_latest else "is kept as"
    return f"{how} {run.served.model_name} version {run.served.version}"


def _artifact_row(each: Directory, users: dict[str, list[str]], now: datetime.datetime) -> list[str]:
    created = moment(each.manifest.get("created")) if each.manifest else None
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


def count(number: int, what: str) -> str:
    """A number of things: `1 run`, `2,000 runs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


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
