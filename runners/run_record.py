"""What a run leaves behind: `runs/<id>/run.json`, and `runs/latest` that points to its folder."""

import dataclasses
import datetime
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.contract import manifest
from foundation import disk


@dataclasses.dataclass
class StepRecord:
    """One line of `steps` in `run.json`.

    Attributes:
        name: The step's name.
        status: `ran`, `cached` or `failed`.
        seconds: Wall-clock time.
        key: The step's key, 64 hexadecimal digits; None if it failed before it had one.
        artifact: Path of what it made; None if it failed.
        summary: What came out, or the error.
    """

    name: str
    status: str
    seconds: float
    key: str | None
    artifact: str | None
    summary: str


class RunRecord:
    """The growing record of one run, written anew after every step.

    Args:
        root: The pipeline root.
        config: The effective configuration as plain values.
        show: Called with a line of text to show.

    Raises:
        OSError: If it can't be begun.
    """

    def __init__(self, root: Path, config: dict[str, Any], show: Callable[[str], None] = print) -> None:
        started = datetime.datetime.now(datetime.UTC)
        self.id = f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        self.directory = root / "runs" / self.id
        self.content: dict[str, Any] = {
            "id": self.id,
            "status": "running",
            "started": manifest.now(),
            "finished": None,
            "config": config,
            "steps": [],
            "metrics": {},
            "error": None,
            "library_versions": manifest.library_versions(),
        }
        self._show = show
        disk.make_directory(self.directory)
        manifest.write_json(self.directory / "run.json", self.content)
        self._point_latest()

    def add(self, step: StepRecord) -> None:
        """Appends a step and writes the record."""
        self.content["steps"].append({**dataclasses.asdict(step), "seconds": round(step.seconds, 3)})
        self.write()

    def finish(self, status: str, error: str | None = None) -> None:
        """Closes the record.

        Args:
            status: `succeeded`, `failed` or `interrupted`.
            error: The message the user saw, if any.
        """
        self.content |= {"status": status, "error": error, "finished": manifest.now()}
        self.write()

    def start_over(self) -> None:
        """Forgets the steps so far, because the run begins again."""
        self.content["steps"] = []
        self.content["metrics"] = {}

    def write(self) -> None:
        """Writes `run.json`, complete or not at all; where it can't be written, the run goes on and says so."""
        path = self.directory / "run.json"
        try:
            manifest.write_json(path, self.content)
        except OSError as error:
            self._show(f"  {'record':<11} {path} can't be written: {error.strerror or error}")

    def _point_latest(self) -> None:
        latest = self.directory.parent / "latest"
        fresh = self.directory.parent / f".latest-{self.id}"
        fresh.symlink_to(self.id)
        os.replace(fresh, latest)
