"""What a run leaves behind: `runs/<id>/run.json`, and `runs/latest` that points to its folder."""

import contextlib
import dataclasses
import datetime
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.contract import manifest
from components.contract.artifacts import Evaluation
from components.contract.run_names import LATEST, RECORD, RUNS
from foundation import disk
from foundation.errors import ArtifactError
from foundation.process_lock import ProcessLock, holder_of, is_held
from runners.program_code import program_code

NAME = RECORD
OWN_DIGEST = "record_digest"
"""Its key of the SHA-256 of all its other keys."""
RUNNING = ".running"
"""A file in a run's folder that its process holds locked, and that goes at the end of the run. It has a line for each
artifact that the run uses."""
RUNNING_ELSEWHERE = ".running_elsewhere"
"""A file in a run's folder that says that its process runs on another machine. It has a line for each artifact that the
run uses."""
TEMPORARY = "tmp"
"""A directory in a run's folder for its process' temporary files, removed at the end of the run."""
KILLED = "the run's process ended without closing this record: it was killed, its machine went down, or its disk failed"

AT_ONCE = "interrupted, and ended at once; finished steps are kept, and the same command goes on from them"


@dataclasses.dataclass
class StepRecord:
    """One entry of `steps` in `run.json`.

    Attributes:
        name: The step's name.
        status: `ran`, `cached`, `failed` or `interrupted`.
        seconds: Wall-clock time.
        key: The step's key, 64 hexadecimal digits; None if it ended before it had one.
        artifact: The directory of its artifact, relative to the root; None if there is none.
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
        configuration: The name or path of the file that the configuration began with.
        name: What the user calls the run.
        command: What was typed to start the run; None for a run that a program started.

    Attributes:
        used: The names of the artifacts that the run said that it uses.

    Raises:
        OSError: If it can't be begun.
    """

    def __init__(
        self,
        root: Path,
        config: dict[str, Any],
        show: Callable[[str], None] = print,
        configuration: str | None = None,
        name: str | None = None,
        command: str | None = None,
    ) -> None:
        started = datetime.datetime.now(datetime.UTC)
        self.id = f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        self.root = root
        self.directory = root / RUNS / self.id
        self.content: dict[str, Any] = {
            "id": self.id,
            "name": name,
            "status": "running",
            "started": manifest.now(),
            "finished": None,
            "configuration": configuration,
            "command": command,
            "code": dataclasses.asdict(program_code()),
            "config": config,
            "steps": [],
            "metrics": {},
            "verdict": None,
            "error": None,
            "library_versions": manifest.library_versions(),
        }
        self._show = show
        self._recorded: dict[tuple[str, str | None], StepRecord] = {}
        disk.make_directory(self.directory)
        self.used: set[str] = set()
        self._running = ProcessLock(self.directory / RUNNING, "run")
        self._running.acquire()
        _write(self.directory / NAME, self.content)
        self._point_latest()

    @property
    def artifacts(self) -> dict[str, Path]:
        """The directories of the artifacts, by the names of their steps."""
        return {step["name"]: self.root / step["artifact"] for step in self.content["steps"] if step["artifact"]}

    def use(self, name: str) -> None:
        """Says that the run uses an artifact, or is about to make it: until its end nobody else removes it.

        Args:
            name: The artifact's, relative to the root.

        Raises:
            OSError: If that can't be written.
        """
        self._running.note(name)
        self.used.add(name)

    def add(
        self,
        step: StepRecord,
        metrics: Mapping[str, float] | None = None,
        verdict: Mapping[str, Any] | None = None,
    ) -> bool:
        """Appends a step and writes the record.

        A step that ran, and is cached when the run has started over, is recorded as it was at first.

        Args:
            step: The step.
            metrics: The metrics of the run, where the step measured them.
            verdict: What `verdict_of` says of them.

        Returns:
            Whether the step is recorded for the first time.
        """
        name_and_key = (step.name, step.key)
        earlier = self._recorded.get(name_and_key) if step.status == "cached" else None
        kept = earlier or step
        if kept.status not in ("failed", "interrupted"):
            self._recorded[name_and_key] = kept
        self.content["steps"].append({**dataclasses.asdict(kept), "seconds": round(kept.seconds, 3)})
        if metrics is not None:
            self.content["metrics"] = dict(metrics)
        if verdict is not None:
            self.content["verdict"] = dict(verdict)
        self.write()
        return earlier is None

    def finish(self, status: str, error: str | None = None) -> None:
        """Closes the record.

        Args:
            status: `succeeded`, `failed` or `interrupted`.
            error: The message the user saw, if any.
        """
        self.content |= {"status": status, "error": error, "finished": manifest.now()}
        # Where the record can't say how the run ended, the next run finds by the file that it did.
        self._running.release(remove=self.write())

    @property
    def temporary(self) -> Path:
        """Where the run's process keeps its temporary files."""
        return self.directory / TEMPORARY

    @property
    def is_closed(self) -> bool:
        """Whether it says how the run ended."""
        return self.content["finished"] is not None

    def close_at_once(self) -> None:
        """Closes the record of a run that can't wait for what it is doing to end, which may be closing the record."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        if self.is_closed:
            self.write()
        else:
            self.finish("interrupted", AT_ONCE)

    def start_over(self) -> None:
        """Empties the list of steps, because the run begins again."""
        self.content["steps"] = []
        self.content |= {"metrics": {}, "verdict": None}

    def write(self) -> bool:
        """Writes `run.json`, complete or not at all; where it can't be written, the run goes on and says so.

        Returns:
            Whether it was written.
        """
        path = self.directory / NAME
        try:
            _write(path, self.content)
        except OSError as error:
            self._show(f"  {'record':<11} {path} can't be written: {error.strerror or error}")
            return False
        return True

    def _point_latest(self) -> None:
        """Makes `latest` point to this run. Whoever makes a record holds off all others meanwhile."""
        for left in self.directory.parent.glob(f".{LATEST}-*"):  # by a run that was killed here
            left.unlink()
        latest = self.directory.parent / LATEST
        if latest.is_dir() and not latest.is_symlink():
            # The root was copied by a program that follows links, so that this is a run's folder once more.
            os.rename(latest, latest.with_name(f"{LATEST}-before-{self.id}"))
        fresh = self.directory.parent / f".{LATEST}-{self.id}"
        fresh.symlink_to(self.id)
        os.replace(fresh, latest)


def read(directory: Path) -> dict[str, Any]:
    """The record of a run: what `RunRecord` wrote, or an earlier version of it, each value of the type that it has.

    Args:
        directory: `runs/<id>`.

    Raises:
        ArtifactError: If there is none, or it isn't one.
    """
    path = directory / NAME
    try:
        content = json.loads(path.read_bytes())
        _check(content)
        if not manifest.is_as_sealed(content, OWN_DIGEST):
            raise ValueError("it is no longer what was written")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise ArtifactError(
            "a run's folder must hold its record, as it was written",
            received=f"{path}: {' '.join(reason.split())}",
            remedy=f"name another run; what can't be mended goes with {directory}, and the artifacts stay",
        ) from error
    blank: dict[str, Any] = {
        "name": None,
        "configuration": None,
        "command": None,
        "code": {},
        "metrics": {},
        "verdict": None,
    }
    return {**blank, "library_versions": {}, **content}


def verdict_of(evaluation: Evaluation) -> dict[str, Any]:
    """What a record keeps of an evaluation beside its metrics, so that runs can be listed without their artifacts."""
    how = evaluation.report.how
    return {
        "blessed": evaluation.blessed,
        "sentence": evaluation.verdict,
        "masks_digest": how.masks_digest,
        "tokenizer_digest": how.tokenizer_digest,
    }


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a record with its own digest, complete or not at all.

    Raises:
        OSError: If it can't be written.
    """
    manifest.write_json(path, manifest.sealed(content, OWN_DIGEST))


def _check(content: Any) -> None:
    """Raises a TypeError, ValueError or KeyError for what is no record of a run."""

    def require(where: Any, name: str, kinds: Any, there: bool = True) -> Any:
        if not isinstance(where, dict):
            raise TypeError("it isn't made of keys and values")
        if there and name not in where:
            raise ValueError(f"it has no {name}")
        value = where.get(name)
        if name in where and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise TypeError(f"its {name} is no {' or '.join(kind.__name__ for kind in kinds)}")
        return value

    none = type(None)
    if not re.fullmatch(r"[\w.-]+", require(content, "id", (str,))):
        raise ValueError("its id is none")
    for name in ("status", "started"):
        require(content, name, (str,))
    for name in ("finished", "error"):
        require(content, name, (str, none))
    for name in ("name", "configuration", "command"):
        require(content, name, (str, none), there=False)
    verdict = require(content, "verdict", (dict, none), there=False)
    if verdict is not None:
        require(verdict, "blessed", (bool,))
        for name in ("sentence", "masks_digest", "tokenizer_digest"):
            require(verdict, name, (str,))
    code = require(content, "code", (dict,), there=False) or {}
    for name in ("version", "commit"):
        require(code, name, (str, none), there=False)
    require(code, "changed", (bool,), there=False)
    for name, value in require(content, "config", (dict,)).items():
        if not isinstance(value, dict):
            raise TypeError(f"its config.{name} is no section")
    for step in require(content, "steps", (list,)):
        for name in ("name", "status"):
            require(step, name, (str,))
        require(step, "seconds", (int, float))
        require(step, "artifact", (str, none))
        require(step, "key", (str, none), there=False)
        require(step, "summary", (str,), there=False)
    for name in require(content, "metrics", (dict,), there=False) or {}:
        require(content["metrics"], name, (int, float))
    for name in require(content, "library_versions", (dict,), there=False) or {}:
        require(content["library_versions"], name, (str,))


def is_running(directory: Path) -> bool:
    """Whether the process of a run is alive, here or on another machine."""
    return is_held(directory / RUNNING) or (directory / RUNNING_ELSEWHERE).is_file()


def used_by(directory: Path) -> tuple[str, ...]:
    """The names of the artifacts that a run said that it uses."""
    try:
        lines = (directory / RUNNING_ELSEWHERE).read_text("utf-8").splitlines()
    except OSError:
        lines = []
    return (*holder_of(directory / RUNNING).notes, *(line for line in lines if line))


def close_killed_runs(root: Path) -> Iterator[Path]:
    """Writes into the records of runs that were killed that they were; they would say "running" for ever.

    Args:
        root: The pipeline root.

    Yields:
        The folder of each of those runs.
    """
    for running in sorted(root.glob(f"{RUNS}/*/{RUNNING}")):
        if running.parent.is_symlink():
            continue
        lock = ProcessLock(running, "run")
        with contextlib.suppress(OSError, ArtifactError):
            if not lock.take():  # its process is alive
                continue
            is_closed = True
            try:
                shutil.rmtree(running.with_name(TEMPORARY), ignore_errors=True)
                running.with_name(NAME + ".partial").unlink(missing_ok=True)
                content = read(running.parent)
                if content["status"] == "running":
                    is_closed = False  # until that is written: where the disk is full, a later run tries again
                    _write(running.with_name(NAME), {**content, "status": "killed", "error": KILLED})
                    is_closed = True
                    yield running.parent
            finally:
                lock.release(remove=is_closed)
