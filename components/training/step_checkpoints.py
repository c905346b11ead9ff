"""Checkpoints of a training under way, on disk: each whole or not there. To look for them takes no TensorFlow."""

import dataclasses
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract import manifest
from components.training.loss_watch import DIVERGED_STEPS
from foundation import disk
from foundation.errors import ArtifactError, PipelineError

if TYPE_CHECKING:
    import tensorflow as tf

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
"""Where a training under way has them, in its step's directory."""
KEPT = 2
"""A damaged checkpoint leaves the one before it."""
STEP, BEST = "step-", "best-"


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

    A checkpoint is written beside its place, its manifest last, and then renamed. Whatever has no manifest, or
    whose files aren't those of its manifest, is debris of a run that was cut off.

    Args:
        directory: Holds the checkpoints; made with the first.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._whole: dict[str, Mapping[str, Any]] = {}
        """The facts of those that were found whole, or written, before: to read them all each time takes long."""

    def newest(self) -> StepCheckpoint | None:
        """The checkpoint to go on from: the newest whole one."""
        for number in sorted(self._numbers(STEP), reverse=True):
            checkpoint = self.find(f"{STEP}{number}")
            if checkpoint is not None:
                return checkpoint
            logger.warning("%s is damaged, and left out.", self.directory / f"{STEP}{number}")
        return None

    def before(self, step: int) -> StepCheckpoint | None:
        """The newest whole checkpoint of an earlier step."""
        numbers = sorted((number for number in self._numbers(STEP) if number < step), reverse=True)
        return next(filter(None, (self.find(f"{STEP}{number}") for number in numbers)), None)

    def find(self, name: str) -> StepCheckpoint | None:
        """A whole checkpoint by its directory's name; None where there is none."""
        directory = self.directory / name
        try:
            facts = manifest.read(directory)
            whole = facts["files"] == manifest.describe_files(directory)
        except (ArtifactError, OSError):
            return None
        return StepCheckpoint(directory, facts) if whole else None

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
            shutil.rmtree(directory, ignore_errors=True)
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

    def _prune(self, newest: str) -> None:
        """Removes the steps that are no longer needed, and the best epochs that belong to none that is.

        Needed are the two newest whole steps; the newest that lies so far back that a divergence found by now began
        after it; and the one that takes its place next. Training went on from before any step beyond the one just
        written.
        """
        last = int(newest.removeprefix(STEP)) if newest.startswith(STEP) else math.inf
        found = ((number, self._facts(f"{STEP}{number}")) for number in sorted(self._numbers(STEP)) if number <= last)
        whole = {number: facts for number, facts in found if facts is not None}
        steps = list(whole)
        recent = [step for step in steps if step > steps[-1] - DIVERGED_STEPS]
        needed: set[str | None] = {newest}
        for step in {*steps[-KEPT:], *recent[:1], *steps[: -len(recent)][-1:]}:
            needed |= {f"{STEP}{step}", whole[step].get("best")}
        for path in self.directory.iterdir():
            if path.name not in needed:
                shutil.rmtree(path)

    def _facts(self, name: str) -> Mapping[str, Any] | None:
        if name not in self._whole and (found := self.find(name)) is not None:
            self._whole[name] = found.facts
        return self._whole.get(name)

    def _numbers(self, prefix: str) -> list[int]:
        if not self.directory.is_dir():
            return []
        numbers = [path.name.removeprefix(prefix) for path in self.directory.iterdir() if path.name.startswith(prefix)]
        return [int(number) for number in numbers if number.isdecimal()]


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
    """Gives every variable that an object tracks the value that was written; all of them must exist by now."""
    import tensorflow as tf

    tf.train.Checkpoint(tracked=tracked).read(path).assert_existing_objects_matched()
