"""What a run leaves behind: `runs/<id>/run.json`, and `runs/latest` that points to its folder."""

import contextlib
import dataclasses
import datetime
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from components.contract import manifest
from foundation import disk

NAME = "run.json"
RUNNING = ".running"
"""A file in a run's folder that its process holds locked, and removes at the end of the run."""
KILLED = "the run's process ended without closing this record: it was killed, its machine went down, or its disk failed"


@dataclasses.dataclass
class StepRecord:
    """One entry of `steps` in `run.json`.

    Attributes:
        name: The step's name.
        status: `ran`, `cached` or `failed`.
        seconds: Wall-clock time.
        key: The step's key, 64 hexadecimal digits; None if it failed before it had one.
        artifact: The directory of its artifact, relative to the root; None if it failed.
        summary: What came out, or the error.
    """

    name: str
    status: str
    seconds: float
    key: str | None
    artifact: str | None
    summary: str


class RunRecord:
    """The growing record of one run, written anew after every step. It holds paths relative to the root.

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
        self.root = root
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
        self._recorded: dict[tuple[str, str | None], StepRecord] = {}
        disk.make_directory(self.directory)
        self._running = FileLock(self.directory / RUNNING)
        self._running.acquire()
        manifest.write_json(self.directory / NAME, self.content)
        self._point_latest()

    @property
    def artifacts(self) -> dict[str, Path]:
        """The directories of the artifacts, by the names of their steps."""
        return {step["name"]: self.root / step["artifact"] for step in self.content["steps"] if step["artifact"]}

    def add(self, step: StepRecord, metrics: Mapping[str, float] | None = None) -> bool:
        """Appends a step and writes the record.

        A step that ran, and is cached when the run has started over, is recorded as it was at first.

        Args:
            step: The step.
            metrics: The metrics of the run, where the step measured them.

        Returns:
            Whether the step is recorded for the first time.
        """
        name_and_key = (step.name, step.key)
        earlier = self._recorded.get(name_and_key) if step.status == "cached" else None
        kept = earlier or step
        if kept.status != "failed":
            self._recorded[name_and_key] = kept
        self.content["steps"].append({**dataclasses.asdict(kept), "seconds": round(kept.seconds, 3)})
        if metrics is not None:
            self.content["metrics"] = dict(metrics)
        self.write()
        return earlier is None

    def finish(self, status: str, error: str | None = None) -> None:
        """Closes the record.

        Args:
            status: `succeeded`, `failed` or `interrupted`.
            error: The message the user saw, if any.
        """
        self.content |= {"status": status, "error": error, "finished": manifest.now()}
        # Where the record can't say how the run ended, the next run finds by this file that it did.
        if self.write():
            with contextlib.suppress(OSError):
                (self.directory / RUNNING).unlink(missing_ok=True)
        self._running.release()

    def start_over(self) -> None:
        """Empties the list of steps, because the run begins again."""
        self.content["steps"] = []
        self.content["metrics"] = {}

    def write(self) -> bool:
        """Writes `run.json`, complete or not at all; where it can't be written, the run goes on and says so.

        Returns:
            Whether it was written.
        """
        path = self.directory / NAME
        try:
            manifest.write_json(path, self.content)
        except OSError as error:
            self._show(f"  {'record':<11} {path} can't be written: {error.strerror or error}")
            return False
        return True

    def _point_latest(self) -> None:
        latest = self.directory.parent / "latest"
        fresh = self.directory.parent / f".latest-{self.id}"
        fresh.symlink_to(self.id)
        os.replace(fresh, latest)


def close_killed_runs(root: Path) -> Iterator[Path]:
    """Writes into the records of runs that were killed that they were; they would say "running" for ever.

    Args:
        root: The pipeline root.

    Yields:
        The folder of each of those runs.
    """
    for running in sorted(root.glob(f"runs/*/{RUNNING}")):
        path = running.with_name(NAME)
        # Whose lock is held by a process is still running.
        with contextlib.suppress(Timeout, OSError, ValueError), FileLock(running, blocking=False):
            # A run that was killed before it had a record leaves none to close.
            content = json.loads(path.read_text("utf-8")) if path.exists() else {"status": "killed"}
            if content["status"] == "running":
                manifest.write_json(path, {**content, "status": "killed", "error": KILLED})
                yield path.parent
            path.with_name(NAME + ".partial").unlink(missing_ok=True)
            running.unlink()
