"""Checkpoints of a training under way, on disk: each whole or not there. To look for them takes no TensorFlow."""

import dataclasses
import functools
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract import manifest
from components.training.loss_watch import DIVERGED_STEPS
from foundation import disk
from foundation.errors import ArtifactError, DamagedArtifact, PipelineError

if TYPE_CHECKING:
    import tensorflow as tf

CHECKPOINTS = "checkpoints"
"""Where a training under way has them, in its step's directory."""
KEPT = 2
"""A damaged checkpoint leaves the one before it."""
STEP, BEST = "step-", "best-"
DAMAGED = ".damaged"
"""What follows the name of a checkpoint that was found damaged and set aside."""
FACTS = {
    STEP: {
        "step": int,
        "epoch": int,
        "step_in_epoch": int,
        "steps": int,
        "params": dict,
        "machine": dict,
        "parts": dict,
        "library_versions": dict,
    },
    BEST: {"epoch": int, "val_loss": float},
}
"""What a checkpoint must say of itself, and of which kind each value is."""


@dataclasses.dataclass(frozen=True)
class StepCheckpoint:
    """A whole checkpoint.

    Attributes:
        directory: Holds `manifest.json` with the facts, and the variables in TensorFlow's format.
        facts: What was written with it.
    """

    directory: Path
    facts: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Optimizer steps made."""
        return int(self.facts["step"])

    @property
    def variables(self) -> str:
        """The path that TensorFlow reads the variables from."""
        return str(self.directory / "variables")


class StepCheckpoints:
    """The checkpoints of one training: `step-N` to go on from, and `best-N`, the weights of the best epoch.

    A checkpoint is written beside its place, its manifest last, and then renamed. One whose files aren't those of its
    manifest, or whose manifest can't be read, is damaged: it is left out, and a training that begins sets it aside as
    `step-N.damaged`. Everything else in the directory is debris of a run that was cut off.

    Args:
        directory: Holds the checkpoints; made with the first.
    """

    writes = True
    """Whether they are this process' own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._whole: dict[str, Mapping[str, Any]] = {}
        """The facts of those that were found whole, or written, before: to read them all each time takes long."""

    def newest(self) -> StepCheckpoint | None:
        """The checkpoint to go on from: the newest whole one."""
        return self._newest(self._numbers(STEP))

    def before(self, step: int) -> StepCheckpoint | None:
        """The newest whole checkpoint of an earlier step."""
        return self._newest(number for number in self._numbers(STEP) if number < step)

    def _newest(self, numbers: Iterable[int]) -> StepCheckpoint | None:
        found = (self.find(f"{STEP}{number}") for number in sorted(numbers, reverse=True))
        return next((checkpoint for checkpoint in found if checkpoint is not None), None)

    def find(self, name: str) -> StepCheckpoint | None:
        """A whole checkpoint by its directory's name; None where there is none."""
        try:
            return self.read(name)
        except (ArtifactError, OSError):
            return None

    def read(self, name: str) -> StepCheckpoint:
        """A checkpoint by its directory's name.

        Raises:
            DamagedArtifact: If its files aren't those that were written, or it was written by another version.
            OSError: If the disk doesn't give it.
        """
        directory = self.directory / name
        if not (directory / manifest.NAME).exists():
            raise DamagedArtifact(directory, f"{directory / manifest.NAME} is missing")
        facts = manifest.read(directory)
        if facts.get("manifest_digest") is None:
            raise DamagedArtifact(directory, f"{directory / manifest.NAME}, which lacks its own digest")
        prefix, counted = (STEP, "step") if name.startswith(STEP) else (BEST, "epoch")
        others = [fact for fact, kind in FACTS[prefix].items() if type(facts.get(fact)) is not kind]
        if others or name != f"{prefix}{facts[counted]}":
            others = others or [counted]
            raise DamagedArtifact(
                directory,
                f"{directory / manifest.NAME}, whose {', '.join(others)} isn't what this version of the program writes",
            )
        for path in manifest.files_below(directory):
            described = facts["files"].get(path.relative_to(directory).as_posix())
            if described is None:
                raise DamagedArtifact(directory, f"{path}, which its manifest doesn't have")
            status = path.stat()
            if _digest(path, status.st_ino, status.st_size, status.st_mtime_ns) != described["sha256"]:
                raise DamagedArtifact(directory, f"{path}, whose SHA-256 is no longer that of its manifest")
        return StepCheckpoint(directory, facts)

    def damaged(self) -> dict[str, str]:
        """Damaged checkpoints newer than the one to go on from: by name, newest first, what is wrong with each.

        Older ones aren't looked at, because reading takes long and they are not needed.
        """
        found = {}
        for number in sorted(self._numbers(STEP), reverse=True):
            name = f"{STEP}{number}"
            try:
                self.read(name)
            except DamagedArtifact as error:
                found[name] = error.received
            except OSError as error:
                found[name] = str(error)
            else:
                break
        return found

    def set_aside(self, name: str) -> Path:
        """Renames a damaged checkpoint, so that nothing takes it for one; what is left of it may be worth a look.

        Returns:
            Where it is now.
        """
        aside = self.directory / f"{name}{DAMAGED}"
        _remove(aside)
        os.rename(self.directory / name, aside)
        disk.flush(self.directory)
        return aside

    def clear(self) -> None:
        """Removes all checkpoints."""
        _remove(self.directory)

    def has_set_aside(self) -> bool:
        """Whether damaged checkpoints were set aside, and are still there."""
        return any(self.directory.glob(f"{STEP}*{DAMAGED}"))

    def write(self, name: str, facts: Mapping[str, Any], save: Callable[[str], object]) -> None:
        """Writes a checkpoint, whole or not at all, then removes those that are no longer needed.

        Args:
            name: `step-N` or `best-N`.
            facts: JSON. `best` names the `best-N` that belongs to it.
            save: Writes the variables to the path that it is given.

        Raises:
            PipelineError: If the disk doesn't take it.
        """
        directory, partial = self.directory / name, self.directory / f"{name}.partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            disk.make_directory(partial)
            save(str(partial / "variables"))
            manifest.write(partial, {"type": "StepCheckpoint", **facts})
            _remove(directory)
            os.rename(partial, directory)
            disk.flush(self.directory)
            self._whole[name] = facts
            self._prune(name)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            kept = self.newest()
            raise PipelineError(
                "training must be able to write its checkpoints to the disk",
                received=f"{error.strerror or error} while writing {directory}",
                remedy="free space (each checkpoint has the size of three models, and up to five exist at once), "
                "or do without them by --train.checkpoint_every_steps null; then run the same command again: "
                + (f"it goes on from step {kept.step}" if kept else "no checkpoint was finished, so it starts anew"),
            ) from error

    def adopt(self, checkpoint: StepCheckpoint, **changed: Any) -> None:
        """Writes a copy of another training's checkpoint, whole or not at all.

        Args:
            checkpoint: The other one.
            changed: Facts that are others here.

        Raises:
            PipelineError: If the disk doesn't take it.
        """
        name = checkpoint.directory.name
        kept = {*FACTS[STEP if name.startswith(STEP) else BEST], "best"} & checkpoint.facts.keys()

        def copy(path: str) -> None:
            for file in checkpoint.directory.glob("variables*"):
                shutil.copyfile(file, Path(path).with_name(file.name))

        self.write(name, {**{fact: checkpoint.facts[fact] for fact in kept}, **changed}, copy)

    def _prune(self, newest: str) -> None:
        """Removes the steps that are no longer needed, and the best epochs that belong to none that is.

        Needed are the two newest whole steps; the newest that lies so far back that a divergence found by now began
        after it; and the one that takes its place next. Training went on from before any step beyond the one just
        written. The damaged ones that were set aside last stay as well.
        """
        last = int(newest.removeprefix(STEP)) if newest.startswith(STEP) else math.inf
        found = ((number, self._facts(f"{STEP}{number}")) for number in sorted(self._numbers(STEP)) if number <= last)
        whole = {number: facts for number, facts in found if facts is not None}
        steps = list(whole)
        recent = [step for step in steps if step > steps[-1] - DIVERGED_STEPS]
        needed: set[str | None] = {newest}
        for step in {*steps[-KEPT:], *recent[:1], *steps[: -len(recent)][-1:]}:
            needed |= {f"{STEP}{step}", whole[step].get("best")}
        aside = sorted(self.directory.glob(f"*{DAMAGED}"), key=lambda path: path.stat().st_ctime_ns)
        needed |= {path.name for path in aside[-KEPT:]}
        for path in self.directory.iterdir():
            if path.name not in needed:
                _remove(path)

    def _facts(self, name: str) -> Mapping[str, Any] | None:
        if name not in self._whole and (found := self.find(name)) is not None:
            self._whole[name] = found.facts
        return self._whole.get(name)

    def _numbers(self, prefix: str) -> list[int]:
        if not self.directory.is_dir():
            return []
        numbers = [path.name.removeprefix(prefix) for path in self.directory.iterdir() if path.name.startswith(prefix)]
        return [int(number) for number in numbers if number.isdecimal() and str(int(number)) == number]


class OthersCheckpoints(StepCheckpoints):
    """Checkpoints that another process writes, as those see them that train with it."""

    writes = False

    def clear(self) -> None:
        """Does nothing."""

    def set_aside(self, name: str) -> Path:
        """Does nothing; see `StepCheckpoints`."""
        return self.directory / f"{name}{DAMAGED}"

    def write(self, name: str, facts: Mapping[str, Any], save: Callable[[str], object]) -> None:
        """Does nothing."""


@functools.lru_cache(maxsize=256)
def _digest(path: Path, inode: int, size: int, changed: int) -> str:
    """SHA-256 of a file, remembered as long as inode, size and time of the last change stay: it may have gigabytes."""
    return manifest.digest_of_file(path)


def _remove(path: Path) -> None:
    """Removes a directory with all that is in it, or a file, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def save_variables(tracked: "tf.Module", path: str) -> None:
    """Writes every variable that an object tracks.

    Raises:
        OSError: If the disk doesn't take them.
    """
    import tensorflow as tf

    try:
        tf.train.Checkpoint(tracked=tracked).write(path)
    except tf.errors.OpError as error:
        raise OSError(0, error.message) from error


def restore_variables(tracked: "tf.Module", path: str) -> None:
    """Gives every variable that an object tracks the value that was written; all of them must exist by now.

    Raises:
        ArtifactError: If the file has other variables than the object.
    """
    import tensorflow as tf

    try:
        tf.train.Checkpoint(tracked=tracked).read(path).assert_existing_objects_matched()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise other_version(Path(path).parent, error) from error


def other_version(directory: Path, error: Exception) -> ArtifactError:
    """The error of a checkpoint that is as it was written, but not as this version of the program writes it."""
    return ArtifactError(
        "a checkpoint must have been written by this version of the program, to go on from it",
        received=f"{directory}, which lacks what is needed ({type(error).__name__}: {str(error).splitlines()[0][:200]})"
        if str(error)
        else f"{directory}, which lacks what is needed ({type(error).__name__})",
        remedy="train from the start with --force train",
    )
