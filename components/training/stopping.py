"""What ends training: the last step, a validation loss that falls no more, and a signal."""

import contextlib
import logging
import math
import signal
import threading
import time
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any

import tensorflow as tf

from components.training.step_checkpoints import BEST, StepCheckpoints, restore_variables, save_variables
from foundation.errors import DamagedArtifact
from foundation.terminal import TERMINAL
from foundation.termination import SIGNALS

logger = logging.getLogger(__name__)


class StopAt(tf.keras.callbacks.Callback):
    """Stops after a number of steps.

    Args:
        steps: The last step.
        first_step: Steps made before, where training goes on.
    """

    def __init__(self, steps: int, first_step: int = 0) -> None:
        super().__init__()
        self.steps = steps
        self.step = first_step
        # Without it Keras would wait for the loss at every step, which leaves a GPU idle.
        self._supports_tf_logs = True

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts the step, and stops training after the last one."""
        self.step += 1
        if self.step >= self.steps:
            self.model.stop_training = True


class BestEpoch(tf.keras.callbacks.Callback):
    """Knows the epoch with the lowest validation loss; stops when none beats it, and loads it at the end, if wanted.

    `early_stopping_patience`, `early_stopping_threshold` and `load_best_model_at_end` mean what they do in
    transformers' `TrainingArguments` and `EarlyStoppingCallback`.

    Args:
        patience: Epochs in a row without a lower validation loss after which training stops; None for never.
        threshold: By how much the loss has to be lower, in nats, to count for that.
        checkpoints: Where the weights of the best epoch are kept, to load them at the end; None to keep the last.

    Attributes:
        epoch: The best epoch, from 1; None without validation.
    """

    def __init__(self, patience: int | None, threshold: float, checkpoints: StepCheckpoints | None) -> None:
        super().__init__()
        self.patience = patience
        self.threshold = threshold
        self.checkpoints = checkpoints
        self.epoch: int | None = None
        self.loss = math.inf
        self.waited = 0
        self._supports_tf_logs = True

    @property
    def name(self) -> str | None:
        """The name of the best epoch's checkpoint."""
        return None if self.epoch is None or self.checkpoints is None else f"{BEST}{self.epoch}"

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Compares the epoch's validation loss with the lowest so far."""
        if logs is None or "val_loss" not in logs:
            return
        loss = float(logs["val_loss"])
        self.waited = 0 if loss < self.loss - self.threshold else self.waited + 1
        if loss < self.loss:
            self.loss, self.epoch = loss, epoch + 1
            if self.checkpoints is not None:
                facts = {"epoch": self.epoch, "val_loss": loss}
                # What was validated is what is kept.
                with self.model.averaged_weights():
                    self.checkpoints.write(
                        f"{BEST}{self.epoch}", facts, lambda path: save_variables(self.model.masked_lm, path)
                    )
        if self.patience is not None and self.waited >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Loads the best epoch's weights, in the place of those that would be kept."""
        if self.checkpoints is None or not self.checkpoints.writes:
            return  # Another process keeps the model, whose last checkpoint may be yet to come.
        if self.name is not None and not self.forget_damaged():
            with self.model.averaged_weights():
                restore_variables(self.model.masked_lm, str(self.checkpoints.directory / self.name / "variables"))

    def state(self) -> dict[str, Any]:
        """The state as JSON."""
        loss = None if math.isinf(self.loss) else self.loss
        return {"name": self.name, "epoch": self.epoch, "loss": loss, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores a state that `state` returned."""
        self.epoch, self.waited = state["epoch"], state["waited"]
        self.loss = math.inf if state["loss"] is None else state["loss"]
        self.forget_damaged()

    def forget_damaged(self) -> bool:
        """Sets the best epoch's checkpoint aside where it is damaged, and says so; whether it was."""
        if self.checkpoints is None or self.name is None:
            return False
        try:
            self.checkpoints.read(self.name)
        except (DamagedArtifact, OSError) as error:
            what = error.received if isinstance(error, DamagedArtifact) else str(error)
            with contextlib.suppress(FileNotFoundError):
                self.checkpoints.set_aside(self.name)
            logger.warning(
                "%s is damaged: only the epochs to come count for the best one; where there is none, the last is kept. "
                "What was found: %s. It is set aside.",
                self.checkpoints.directory / self.name,
                what,
            )
            self.epoch, self.loss = None, math.inf
            return True
        return False


class Interruption:
    """Signals that ask a training to end, held back until a step is done, so that a checkpoint can be written first.

    As a context, it gives the signals back to their handlers at its end, and sends the one that it held back again.

    Attributes:
        when: When training ends after a signal, as a phrase that follows "stopping".
    """

    def __init__(self, when: str) -> None:
        self.when = when
        self._handlers: dict[signal.Signals, Any] = {}
        self._received: signal.Signals | None = None
        self._since = 0.0

    @property
    def seconds(self) -> float | None:
        """Seconds since a signal asked training to end; None where none has."""
        return None if self._received is None else time.monotonic() - self._since

    def hold_back(self) -> None:
        """Begins to hold back those signals that have a handler. Only the main thread can, and only it receives any."""
        if self._handlers or threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if callable(signal.getsignal(number)):
                self._handlers[number] = signal.signal(number, self._receive)

    def deliver(self) -> None:
        """Has the signal do what it would have done at once, if there was one."""
        self._let_go()
        if self._received is not None:
            received, self._received = self._received, None
            signal.raise_signal(received)

    def __enter__(self) -> "Interruption":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()
        if error is None:
            self.deliver()

    def _let_go(self) -> None:
        """Gives the signals back to those who handled them before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_second = self._received is not None
        self._received, self._since = signal.Signals(number), time.monotonic()
        if is_second:
            self.deliver()
        else:
            with contextlib.suppress(RuntimeError):  # the signal came in the middle of a line
                TERMINAL.tell(f"  stopping {self.when}; once more stops at once")
