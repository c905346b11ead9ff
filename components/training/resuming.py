"""Checkpoints every so many steps of a training, and going on from one as if it had never stopped."""

import dataclasses
import logging
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import tensorflow as tf

from components.contract import manifest
from components.training.loss_watch import BadLoss
from components.training.step_checkpoints import (
    STEP,
    StepCheckpoint,
    StepCheckpoints,
    other_version,
    restore_variables,
    save_variables,
)
from components.training.stopping import Interruption
from foundation.errors import ConfigError

logger = logging.getLogger(__name__)

FIRST_SECONDS = 20.0
"""When the first checkpoint is due: with a step that takes long and the writing, it is there within 30 seconds."""
PART_OF_TIME = 0.015
"""What checkpoints are to take of the time after the first: where one takes a third longer, it is 2%."""
VALIDATION_SECONDS = 5.0
"""How long an interrupted training waits for the end of a validation, to write a checkpoint after it."""


class Resumable(Protocol):
    """A part of training whose state is no TensorFlow variable."""

    def state(self) -> dict[str, Any]:
        """The state as JSON; every float finite."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores a state that `state` returned."""


class Checkpointing(tf.keras.callbacks.Callback):
    """Writes checkpoints, and restores the one that training goes on from.

    A checkpoint has every variable that the trained Keras model tracks: weights, the optimizer's, those of running
    metrics; and the state of the other parts. All chance in training is a function of the seed and the step, so
    there is nothing else. What falls on an epoch's end is written after the validation; with a number of steps given,
    so is one at the end of training.

    Args:
        checkpoints: Where the checkpoints are kept.
        resumed: The one to go on from; None for a start.
        every_steps: Steps from one to the next; auto for one within 30 seconds, and then as often as takes 2% of the
            time; None for none.
        steps_per_epoch: Steps an epoch.
        epochs: Epochs in all.
        facts: What each checkpoint says beside its position.
        parts: The parts whose state is no variable, by name. Keras calls them before this one.
        state: Where the state at the end of training is kept, for a longer one to go on from; None for nowhere.
        steps: Steps in all.
        interruption: Knows whether a signal asked training to end. Then a checkpoint is written, unless there are to be
            none, and the signal is delivered.

    Attributes:
        initial_epoch: For `fit`; the number of epochs, where the training was finished.
        initial_step: The step in that epoch.
    """

    def __init__(
        self,
        checkpoints: StepCheckpoints,
        resumed: StepCheckpoint | None,
        *,
        every_steps: int | Literal["auto"] | None,
        steps_per_epoch: int,
        epochs: int,
        facts: Mapping[str, Any],
        parts: Mapping[str, Resumable],
        state: StepCheckpoints | None,
        steps: int,
        interruption: Interruption,
    ) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.resumed = resumed
        self.every_steps = every_steps
        self.steps_per_epoch = steps_per_epoch
        self.epochs = epochs
        self.facts = facts
        self.parts = parts
        self.state = state
        self.steps = steps
        self.interruption = interruption
        self.step = resumed.step if resumed else 0
        self.initial_epoch = int(resumed.facts["epoch"]) if resumed else 0
        self.initial_step = int(resumed.facts["step_in_epoch"]) if resumed else 0
        self._schedule = Schedule(time.monotonic())
        self._running: list[tuple[tf.Variable, np.ndarray]] = []
        # Without it Keras would wait for the loss at every step, which leaves a GPU idle.
        self._supports_tf_logs = True

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Restores the checkpoint that training goes on from."""
        self._schedule = Schedule(time.monotonic())
        if self.state is not None and self.initial_epoch < self.epochs:
            self.state.clear()  # of a run that ended here and was cut off before all was saved
        if self.resumed is None:
            return
        restore_variables(self.model, self.resumed.variables)
        for name, part in self.parts.items():
            try:
                part.restore(self.resumed.facts["parts"][name])
            except (KeyError, TypeError, ValueError) as error:
                raise other_version(self.resumed.directory, error) from error
        if self.initial_step:
            variables = [variable for metric in self.model.metrics for variable in metric.variables]
            self._running = [(variable, variable.numpy()) for variable in variables]

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Gives the running metrics of a half-finished epoch back, which Keras has just reset."""
        for variable, value in self._running:
            variable.assign(value)
        self._running = []

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes a checkpoint where one is due."""
        self.step += 1
        self._schedule.step_ends(time.monotonic())
        # Before the first step, which may take long to compile, nothing would be lost.
        self.interruption.hold_back()
        within_epoch = batch + 1 < self.steps_per_epoch and not self.model.stop_training
        if self.step == self.steps and batch + 1 < self.steps_per_epoch:
            # A longer training has the rest of this epoch before its validation.
            self.keep_state(self.step // self.steps_per_epoch, batch + 1)
        if within_epoch and (self.is_due() or self.is_last_chance()):
            self.write(self.step // self.steps_per_epoch, batch + 1)
        if within_epoch:
            self.end_if_interrupted()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Ends a validation that takes long: there is no checkpoint between an epoch's last step and its end."""
        if (self.interruption.seconds or 0.0) > VALIDATION_SECONDS:
            self.interruption.deliver()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes a checkpoint where one is due."""
        is_last = self.model.stop_training or epoch + 1 == self.epochs
        if is_last and self.step % self.steps_per_epoch == 0:
            self.keep_state(epoch + 1, 0)
        if self.is_due() or (is_last and isinstance(self.every_steps, int)) or self.is_last_chance():
            self.write(self.epochs if is_last else epoch + 1, 0)
        self.end_if_interrupted()

    def is_last_chance(self) -> bool:
        """Whether training is about to be interrupted, and is to be gone on from here."""
        return self.every_steps is not None and self.interruption.seconds is not None

    def end_if_interrupted(self) -> None:
        """Ends training by the signal that was held back, if there is one."""
        if self.interruption.seconds is not None:
            self.interruption.deliver()

    def is_due(self) -> bool:
        """Whether a checkpoint belongs after the step just made."""
        if self.every_steps == "auto":
            return self._schedule.is_due(time.monotonic())
        return self.every_steps is not None and self.step % self.every_steps == 0

    def keep_state(self, epoch: int, step_in_epoch: int) -> None:
        """Writes the state at the end of training for a longer one, as a checkpoint."""
        if self.state is None:
            return
        best = self.parts["best"].state()["name"] if "best" in self.parts else None
        if best is not None and (found := self.checkpoints.find(best)) is not None:
            self.state.adopt(found)
        self.write(epoch, step_in_epoch, self.state)

    def write(self, epoch: int, step_in_epoch: int, checkpoints: StepCheckpoints | None = None) -> None:
        """Writes a checkpoint.

        Args:
            epoch: Where training goes on from it.
            step_in_epoch: Steps of that epoch made.
            checkpoints: Where to; None for among those of the training under way.

        Raises:
            PipelineError: If the disk doesn't take it.
            BadLoss: If the weights are no numbers any more, which the loss would show a step later.
        """
        # A GPU first does the steps that it was given: their time is not the checkpoint's.
        self.model.optimizer.iterations.numpy()
        started = time.monotonic()
        parts = {name: part.state() for name, part in self.parts.items()}
        if not tf.math.is_finite(tf.linalg.global_norm(self.model.trainable_variables)):
            raise BadLoss(self.step, "weights that are NaN or infinity")
        position = {"step": self.step, "epoch": epoch, "step_in_epoch": step_in_epoch}
        best = parts.get("best", {}).get("name")
        (checkpoints or self.checkpoints).write(
            f"{STEP}{self.step}",
            {**self.facts, **position, "best": best, "parts": parts},
            lambda path: save_variables(self.model, path),
        )
        self._schedule.was_written(started, time.monotonic())


@dataclasses.dataclass
class Schedule:
    """When checkpoints are due: the first soon, the others as seldom as keeps their part of the time small.

    Attributes:
        began: When training began, in seconds of a clock, as all times here.
        step_ended: When the last step ended; None before the first.
        step_seconds: How long the last step took.
        first_written: When the first checkpoint was there; None before.
        last_written: When the last one was there.
        last_seconds: How long it took to write.
        later_seconds: How long all but the first took.
    """

    began: float
    step_ended: float | None = None
    step_seconds: float = 0.0
    first_written: float | None = None
    last_written: float = 0.0
    last_seconds: float = 0.0
    later_seconds: float = 0.0

    def step_ends(self, now: float) -> None:
        """Notes that a step ended."""
        self.step_seconds = now - (self.began if self.step_ended is None else self.step_ended)
        self.step_ended = now

    def is_due(self, now: float) -> bool:
        """Whether a checkpoint is due after the step that just ended."""
        if self.first_written is None:
            # The end of the next step would be too late.
            return now + self.step_seconds - self.began >= FIRST_SECONDS
        # The first condition spreads them over the time, the second counts those that took longer than was thought.
        return self.last_seconds <= PART_OF_TIME * (
            now - self.last_written
        ) and self.later_seconds + self.last_seconds <= PART_OF_TIME * (now - self.first_written)

    def was_written(self, started: float, now: float) -> None:
        """Notes that a checkpoint was written."""
        self.last_written, self.last_seconds = now, now - started
        if self.first_written is None:
            self.first_written = now
        else:
            self.later_seconds += self.last_seconds
        # What was written isn't part of the next step.
        self.step_ended = now


def require_same_precision(there: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
    """Refuses to go on in another precision, and says where what follows is not what it would have been.

    Args:
        there: The facts of the checkpoint.
        machine: What this run computes with: `precision` and whatever else may change a result.

    Raises:
        ConfigError: If the precision is another; under `auto` it hangs on the device.
    """
    before = there["machine"]
    if before["precision"] != machine["precision"]:
        raise ConfigError(
            "a training must go on in the precision that it began in",
            received=f"train.precision {machine['precision']} on {', '.join(machine['devices'])}, after "
            f"{before['precision']} on {', '.join(before['devices'])} up to step {there['step']}",
            remedy="go on on a device like that one, or start anew (--force train, without --train.continue_from)",
        )
    libraries = manifest.library_versions()
    others = [f"{name} {before.get(name)}" for name in machine if before.get(name) != machine[name]] + [
        f"{name} {version}" for name, version in there["library_versions"].items() if libraries.get(name) != version
    ]
    if others:
        logger.warning(
            "Training goes on from a checkpoint made with %s: the weights won't be, bit for bit, those of a run that "
            "was left alone.",
            ", ".join(others),
        )
