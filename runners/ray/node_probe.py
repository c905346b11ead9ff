"""What a node of a cluster is asked before any work. It imports nothing of this program, which a node may lack."""

import dataclasses
import hashlib
import importlib.util
import os
import platform
from pathlib import Path

PACKAGES = ("foundation", "components", "serving", "runners")
"""What a worker needs of this program."""


@dataclasses.dataclass(frozen=True)
class Node:
    """What a node answers.

    Attributes:
        host: Its name.
        missing: Those of the packages that aren't installed there.
        code: SHA-256 of the packages' code, which is the same wherever it is installed; empty where one is missing.
        sees: Whether it sees a file that the driver wrote.
    """

    host: str
    missing: tuple[str, ...]
    code: str
    sees: bool


def probe(file: str) -> Node:
    """What a node knows of this program, and of the files.

    Args:
        file: The path of a file that the driver wrote.
    """
    places = {name: _place(name) for name in PACKAGES}
    missing = tuple(name for name, place in places.items() if place is None)
    code = "" if missing else _digest([place for place in places.values() if place is not None])
    return Node(platform.node(), missing, code, os.path.isfile(file))


def _place(package: str) -> Path | None:
    """The folder of a package; None where it isn't installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _digest(places: list[Path]) -> str:
    """SHA-256 of all Python files in some folders, each with its name."""
    digest = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*.py")):
            name = f"{place.name}/{path.relative_to(place).as_posix()}"
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
