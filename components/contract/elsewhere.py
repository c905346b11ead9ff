"""What of a directory is not on this machine: files of a remote root that nobody here has needed yet.

A hidden file beside the others names them. A directory without it is whole.
"""

import json
import os
from collections.abc import Collection
from pathlib import Path

NAME = ".elsewhere.json"


def files_elsewhere(directory: Path) -> frozenset[str]:
    """The files of a directory that stand in the remote root alone, by path relative to the directory."""
    try:
        names = json.loads((directory / NAME).read_bytes())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(str(name) for name in names) if isinstance(names, list) else frozenset()


def note_files_elsewhere(directory: Path, names: Collection[str]) -> None:
    """Writes down which files of a directory are elsewhere; none make it whole.

    Raises:
        OSError: If that can't be written.
    """
    path = directory / NAME
    if not names:
        path.unlink(missing_ok=True)
        return
    partial = path.with_name(f"{NAME}.partial")
    partial.write_text(json.dumps(sorted(names)), encoding="utf-8")
    os.replace(partial, path)
