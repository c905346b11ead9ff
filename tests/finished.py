"""What a runner does when a step has run: its directory becomes an artifact."""

from pathlib import Path
from typing import Any

from components.contract import manifest
from components.contract.artifacts import Artifact


def finish(directory: Path, kind: type[Artifact]) -> Any:
    """The artifact that a step leaves in a directory."""
    manifest.write(directory, {"type": kind.__name__})
    return kind(directory)
