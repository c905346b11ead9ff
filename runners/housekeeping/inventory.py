"""What there is in a pipeline root: its runs, and the directories of their artifacts, finished or not."""

import contextlib
import dataclasses
import datetime
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.contract import manifest, run_names
from components.contract.artifacts import Pushed
from components.publishing.params import PushParams
from foundation.errors import ArtifactError, ConfigError, DamagedArtifact, PipelineError
from runners import run_record
from runners.store import ARTIFACTS, DAMAGED, KEY_DIGITS, PARTIAL, REMOVED, REPLACED

FINISHED = ""
KINDS = "|".join(map(re.escape, (PARTIAL, DAMAGED, REPLACED, REMOVED)))
NAME = re.compile(rf"(?P<key>[0-9a-f]{{{KEY_DIGITS}}})((?P<kind>{KINDS})\d*)?")
"""The name of a directory of a step. Whatever is called otherwise is somebody else's, and left alone."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder.

    Attributes:
        directory: `runs/<id>`.
        is_running: Whether its process is alive.
        in_use: The names of the artifacts that the process says that it uses.
    """

    directory: Path
    is_running: bool
    in_use: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its id, unless somebody renamed the folder."""
        return self.directory.name

    @property
    def was_renamed(self) -> bool:
        """Whether somebody renamed the folder."""
        return not run_names.IDENTIFIER.fullmatch(self.name)

    @functools.cached_property
    def is_empty(self) -> bool:
        """Whether the run has written nothing: it is about to begin, or was killed as it began."""
        begun = {run_record.RUNNING, f"{run_record.NAME}.partial"}
        return not self.is_running and not any(path.name not in begun for path in self.directory.glob("*"))

    @functools.cached_property
    def _read(self) -> tuple[dict[str, Any] | None, str | None]:
        try:
            return run_record.read(self.directory), None
        except ArtifactError as error:
            return None, error.received

    @property
    def record(self) -> dict[str, Any] | None:
        """The content of `run.json`; None if it can't be read."""
        return self._read[0]

    @property
    def damage(self) -> str | None:
        """Why the record can't be read; None if it can, or there is none yet."""
        return None if self.is_running or self.is_empty else self._read[1]

    @property
    def status(self) -> str:
        """How the run ended, in a word."""
        if self.is_running:
            return "running"
        if self.is_empty:
            return "killed"
        if self.record is None:
            return "damaged"
        return "killed" if self.record["status"] == "running" else str(self.record["status"])

    @functools.cached_property
    def artifacts(self) -> dict[str, str]:
        """The names of its artifacts, `artifacts/<step>/<key>`, by step."""
        found = {}
        for step in self.record["steps"] if self.record else ():
            # Records that earlier versions wrote hold absolute paths, which end in the same three parts.
            parts = Path(step["artifact"] or "").parts[-3:]
            if len(parts) == 3 and parts[0] == ARTIFACTS:
                found[step["name"]] = "/".join(parts)
        return found

    def pushed_to(self, root: Path) -> tuple[Path, int] | None:
        """The base path and the number of the version that it pushed; None where it pushed none, or none is known."""
        if "push" not in self.artifacts:
            return None
        try:
            report = Pushed(root / self.artifacts["push"]).report
        except (PipelineError, OSError):
            return None
        if report.version is None:
            return None
        return Path(os.path.abspath(root / report.base_path)), report.version

    @property
    def keys(self) -> set[str]:
        """What the names of its artifacts are, or would be if their steps had come to an end."""
        steps = self.record["steps"] if self.record else ()
        begun = {f"{ARTIFACTS}/{step['name']}/{step['key'][:KEY_DIGITS]}" for step in steps if step.get("key")}
        return begun | set(self.artifacts.values()) | set(self.in_use)


@dataclasses.dataclass(frozen=True)
class Directory:
    """A directory of a step: a finished artifact, or what is no artifact yet or any more.

    Attributes:
        path: Where it is.
        step: The step's name.
        key: The first digits of its key.
        kind: Nothing for an artifact, else what follows the key in its name.
    """

    path: Path
    step: str
    key: str
    kind: str

    @property
    def name(self) -> str:
        """The name of the artifact that it is, was or would have become."""
        return f"{ARTIFACTS}/{self.step}/{self.key}"

    @functools.cached_property
    def _read(self) -> tuple[dict[str, Any] | None, str | None]:
        try:
            return manifest.read(self.path), None
        except DamagedArtifact as error:
            return None, error.received
        except (ArtifactError, OSError):
            return None, None

    @property
    def manifest(self) -> dict[str, Any] | None:
        """Its manifest; None where there is none, or it isn't whole."""
        return self._read[0]

    @property
    def damage(self) -> str | None:
        """What is wrong with a directory that has a manifest, as far as the sizes of its files show it."""
        return self._read[1]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The digests of what it was made from."""
        # The finished training that a longer one went on from stands among its sources.
        found = [(self.manifest or {}).get(name) for name in ("inputs", "sources")]
        return tuple(str(digest) for each in found if isinstance(each, dict) for digest in each.values())

    @functools.cached_property
    def bytes(self) -> int:
        """The size of its files."""
        if self.manifest is not None and self.kind == FINISHED:
            return sum(int(file["bytes"]) for file in self.manifest["files"].values())
        return bytes_below(self.path)

    @functools.cached_property
    def changed(self) -> datetime.datetime:
        """When something in it was last written."""
        times = [status.st_mtime for status in _statuses_below(self.path)]
        with contextlib.suppress(OSError):
            times.append(self.path.stat().st_mtime)
        return datetime.datetime.fromtimestamp(max(times, default=0.0), datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What a root holds at one moment.

    Attributes:
        root: The pipeline root.
        runs: Its runs, the oldest first, those with names of their own before all others.
        directories: The steps' directories, by path. Some may be links, by which somebody keeps them on another disk.
    """

    root: Path
    runs: tuple[Run, ...]
    directories: tuple[Directory, ...]

    @functools.cached_property
    def artifacts(self) -> dict[str, Directory]:
        """The finished artifacts by name."""
        return {each.name: each for each in self.directories if each.kind == FINISHED}

    @functools.cached_property
    def base_paths(self) -> tuple[Path, ...]:
        """The base paths of the models that the runs pushed, and those in the usual place, as far as they exist."""
        found = set((self.root / PushParams.serving_dir).glob("*"))
        for run in self.runs:
            settings = (run.record or {}).get("config", {}).get("push", {})
            serving_dir, model_name = settings.get("serving_dir"), settings.get("model_name")
            if isinstance(serving_dir, str) and isinstance(model_name, str):
                found.add(self.root / serving_dir / model_name)
        return tuple(path for path in sorted({Path(os.path.abspath(path)) for path in found}) if path.is_dir())


def take_inventory(root: Path) -> Inventory:
    """Looks at a root.

    Raises:
        ConfigError: If it isn't there.
    """
    if not root.is_dir():
        raise ConfigError(
            "--root must be a directory in which a pipeline has run", received=str(root), remedy="name it by --root DIR"
        )
    runs = []
    for directory in run_names.folders(root):
        # In this order: a run that ends meanwhile has written all into its record by then.
        is_running, in_use = run_record.is_running(directory), run_record.used_by(directory)
        runs.append(Run(directory, is_running, in_use if is_running else ()))
    return Inventory(root, tuple(runs), tuple(_directories(root)))


def _directories(root: Path) -> Iterator[Directory]:
    for path in sorted((root / ARTIFACTS).glob("*/*")):
        found = NAME.fullmatch(path.name)
        if found and path.is_dir():
            yield Directory(path, path.parent.name, found["key"], found["kind"] or FINISHED)


def bytes_below(path: Path) -> int:
    """The size of a file, or of all files below a directory, that may be going away meanwhile."""
    return sum(status.st_size for status in _statuses_below(path))


def _statuses_below(path: Path) -> Iterator[os.stat_result]:
    """The statuses of a file, or of every file below a directory, but of those that go away meanwhile."""
    below = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    for each in below if path.is_dir() and not path.is_symlink() else (path,):
        try:
            yield os.lstat(each)
        except FileNotFoundError:
            continue
