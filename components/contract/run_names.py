"""How the runs of a root are called: by an id that never repeats, and by a name that people give them.

A name may be given again, as when the same command goes on after an interrupt. It stands for the newest run that has
it; the older ones keep their ids.
"""

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError

RUNS = "runs"
RECORD = "run.json"
LATEST = "latest"
IDENTIFIER = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
"""The id of a run, which is what its folder is called unless somebody gave it another name."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a name may be: it stands in paths, addresses and shells as it is."""
RULE = (
    "a run's name must have at most 64 letters (A to Z), digits, dots, hyphens and underscores, and begin with a "
    "letter or a digit"
)


def require_name(name: str) -> str:
    """Refuses a name that couldn't be told from something else.

    Raises:
        ConfigError: If it breaks the rule, or is what `latest` or an id is.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(RULE, received=repr(name), remedy="give another one by --name, such as --name small-2.1")
    if name == LATEST or IDENTIFIER.fullmatch(name) or name.isdigit():
        raise ConfigError(
            "a run's name must not be latest, a run's id or a number, which stand for other runs",
            received=name,
            remedy="give another one by --name, such as --name first-try",
        )
    return name


def folders(root: Path) -> list[Path]:
    """The folders of a root's runs, the oldest first; those that somebody named otherwise come first of all."""
    found = [path for path in (root / RUNS).glob("*") if path.is_dir() and not path.is_symlink()]

    def order(path: Path) -> tuple[bool, str, int, str]:
        try:
            written = (path / RECORD).stat().st_mtime_ns
        except OSError:
            written = 0
        # A name has the second in which the run began; of those that began in one, the last to end is the newest.
        return bool(IDENTIFIER.fullmatch(path.name)), path.name.split("-")[0], written, path.name

    return sorted((path for path in found if not path.name.startswith(".")), key=order)


def named(root: Path, name: str) -> list[Path]:
    """The folders of the runs that were given a name, the newest first. Damaged records have none."""
    if not NAME.fullmatch(name):
        return []
    return [folder for folder in reversed(folders(root)) if name_of(folder, name) == name]


def name_of(folder: Path, hoped: str = "") -> str | None:
    """The name of a run, as its record says; None where it has none, or there is no record.

    Args:
        folder: The run's folder.
        hoped: A record without these characters isn't parsed, which is much quicker among many.
    """
    try:
        content = (folder / RECORD).read_bytes()
        record: Any = json.loads(content) if hoped.encode() in content else None
    except (OSError, ValueError, RecursionError):
        return None
    name = record.get("name") if isinstance(record, dict) else None
    return name if isinstance(name, str) else None


def nearest_name(root: Path, name: str) -> str | None:
    """The name of a run that a misspelled one was likely meant to be; None where no name is like it."""
    names = [found for folder in folders(root) if (found := name_of(folder)) is not None]
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.75)), None)


def find_run(root: Path, name: str) -> Path | None:
    """The folder that a user means: by an id, a name, as `latest` or by a path; None where there is none."""
    if not name or "\0" in name:
        return None
    if "/" not in name:
        below = root / RUNS / name
        if os.path.isfile(below / RECORD):
            return below.resolve()
        if found := named(root, name):
            return found[0].resolve()
    folder = Path(name)
    return folder.resolve() if os.path.isfile(folder / RECORD) else None
