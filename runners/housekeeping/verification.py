"""Compares everything in a root, and what was pushed from there, with the digests that were written with it."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.contract import artifacts, manifest
from components.contract.push_record import OWN_DIGEST, RECORD
from components.training.step_checkpoints import BEST, CHECKPOINTS, STEP
from foundation.errors import ArtifactError, PipelineError
from foundation.terminal import BYTES, TERMINAL
from foundation.versions import versions
from runners.housekeeping.inventory import FINISHED, take_inventory
from runners.housekeeping.listing import count
from runners.store import DAMAGED, KEY_DIGITS, PARTIAL

REPORTS = ("report", "history", "step_history", "blessing", "samples")
"""The attributes of artifacts that read their reports."""


@dataclasses.dataclass
class Verification:
    """What was compared, and what is wrong.

    Attributes:
        artifacts: Finished artifacts.
        checkpoints: Checkpoints of trainings under way.
        versions: Versions of serving directories.
        files: Files that were compared.
        bytes: Their size.
        damages: A line for each fault.
        notes: A line for each thing that couldn't be compared.
    """

    artifacts: int = 0
    checkpoints: int = 0
    versions: int = 0
    files: int = 0
    bytes: int = 0
    damages: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: "Verification") -> None:
        """Counts what another comparison has found, too."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def summary(self) -> str:
        """What was compared, in a line."""
        counted = [count(self.artifacts, "artifact")]
        counted += [count(self.checkpoints, "step checkpoint")] if self.checkpoints else []
        counted += [count(self.versions, "pushed version")] if self.versions else []
        counted += [count(self.files, "file"), count(self.bytes, "byte")]
        damaged = "all as written" if not self.damages else f"{count(len(self.damages), 'fault')} found"
        return f"{', '.join(counted)}, {damaged}"


def verify(root: Path) -> Verification:
    """Compares every file of a root's artifacts, step checkpoints and pushed versions with its digest.

    Records and reports are read, too. It changes nothing: the next run sets aside what it needs and finds damaged, and
    makes it anew.

    Raises:
        ConfigError: If there is no such root.
    """
    inventory = take_inventory(root)
    result = Verification()
    result.damages += [str(run.damage) for run in inventory.runs if run.damage]
    pushed = [path for base_path in inventory.base_paths for path in versions(base_path).values()]
    size = sum(each.bytes for each in inventory.directories if each.kind in (FINISHED, PARTIAL))
    with TERMINAL.progress("comparing", size + sum(map(_size_of, pushed)), BYTES):
        for each in inventory.directories:
            if each.kind == FINISHED:
                result.artifacts += 1
                _check_unless_replaced(each.path, result, _faults)
            elif each.kind == PARTIAL:
                for checkpoint in _step_checkpoints(each.path):
                    result.checkpoints += 1
                    _check_unless_replaced(checkpoint, result)
            elif each.kind == DAMAGED:
                result.notes.append(f"{each.path} was set aside as damaged; --gc removes it")
        for path in pushed:
            compared = Verification()
            _check_version(path, compared)
            if path.exists():  # no push has removed it meanwhile
                result.add(compared)
    return result


def _size_of(directory: Path) -> int:
    """The bytes of a version's files, as far as they are there."""
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in manifest.files_below(directory))
    return 0


def as_text(result: Verification) -> Iterator[str]:
    """A line for each fault and note, and one that sums up."""
    yield from (f"damaged: {' '.join(each.split())}" for each in result.damages)
    yield from (f"note: {each}" for each in result.notes)
    yield result.summary


def _step_checkpoints(partial: Path) -> list[Path]:
    """The checkpoints of a training that is under way or was cut off."""
    found = (path for prefix in (STEP, BEST) for path in sorted((partial / CHECKPOINTS).glob(f"{prefix}*")))
    return [path for path in found if path.name.split("-")[-1].isdecimal()]


def _check_unless_replaced(
    directory: Path, result: Verification, more: Callable[[Path, Mapping[str, Any]], list[str]] | None = None
) -> None:
    """Compares a directory with its manifest; again where another process has replaced or removed it meanwhile."""
    while True:
        before = _mark(directory / manifest.NAME)
        compared = Verification()
        _check(directory, compared, more)
        after = _mark(directory / manifest.NAME)
        if before == after or not compared.damages:
            break
    if not directory.exists() or (after is None and before is not None):
        return
    result.add(compared)


def _check(
    directory: Path, result: Verification, more: Callable[[Path, Mapping[str, Any]], list[str]] | None = None
) -> None:
    """Compares a directory with its manifest."""
    try:
        content = manifest.parse(directory)
    except ArtifactError as error:
        result.damages.append(error.received)
        return
    except OSError as error:
        result.damages.append(f"{directory / manifest.NAME}: {error.strerror or error}")
        return
    for name, described in content["files"].items():
        result.files += 1
        result.bytes += int(described["bytes"])
        try:
            manifest.verify_file(directory, content, name)
        except ArtifactError as error:
            result.damages.append(error.received)
        except OSError as error:
            result.damages.append(f"{directory / name}: {error.strerror or error}")
    with contextlib.suppress(OSError):  # it is going away
        names = (path.relative_to(directory).as_posix() for path in manifest.files_below(directory, [CHECKPOINTS]))
        others = [name for name in names if name not in content["files"]]
        result.damages += [f"{directory / name}, which the manifest doesn't list" for name in others]
    if more is not None and not result.damages:
        result.damages += more(directory, content)


def _faults(directory: Path, content: Mapping[str, Any]) -> list[str]:
    """What is wrong with an artifact whose files are as written: it stands in another's place, or can't be read."""
    key = str(content.get("key"))
    if key[:KEY_DIGITS] != directory.name:
        return [f"{directory}, which its manifest says is the artifact of the key {key}"]
    kind = getattr(artifacts, str(content.get("type")), None)
    faults = []
    for name in REPORTS:
        if isinstance(kind, type) and issubclass(kind, artifacts.Artifact) and hasattr(kind, name):
            try:
                getattr(kind(directory), name)
            except NotImplementedError:
                continue
            except PipelineError as error:
                faults.append(error.received)
    return faults


def _check_version(directory: Path, result: Verification) -> None:
    """Compares a version with what its push recorded."""
    path = directory / RECORD
    if not path.exists():
        result.notes.append(f"{directory} was not pushed from here, so there is nothing to compare it with")
        return
    result.versions += 1
    try:
        record = json.loads(path.read_bytes())
        sizes, digests = {**record["files"]}, {**record.get("sha256", {})}
        if not manifest.is_as_sealed(record, OWN_DIGEST):
            raise ValueError("it is no longer what was written")
    except OSError as error:
        result.damages.append(f"{path}: {error.strerror or error}")
        return
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        result.damages.append(f"{path}, which can't be read as the record of a push: {error}")
        return
    for name, size in sizes.items():
        file = directory / name
        result.files += 1
        try:
            there = file.stat().st_size
            if there != size:
                result.damages.append(f"{file} is of {there:,} bytes, not {size:,}")
            elif name in digests and manifest.digest_of_file(file) != digests[name]:
                result.damages.append(f"{file}, whose SHA-256 is no longer that of its push")
            result.bytes += there
        except OSError as error:
            result.damages.append(f"{file}: {error.strerror or error}")
    if not digests:
        result.notes.append(f"{directory} was pushed by an earlier version: only the sizes of its files are known")
    found = (each.relative_to(directory).as_posix() for each in manifest.files_below(directory))
    known = {*sizes, RECORD}
    result.damages += [f"{directory / name}, which its push didn't bring" for name in found if name not in known]


def _mark(path: Path) -> tuple[int, int] | None:
    """What tells a file from another that takes its place; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
