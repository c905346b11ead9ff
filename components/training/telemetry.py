"""What a training reports while it runs: on the terminal, to TensorBoard, and in its history.

Reading a number from a GPU waits for all that it was given to do. So the numbers of each step stay where they are,
until those of a whole row are read at once.
"""

import dataclasses
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from components.contract.reports import EpochRow, StepRow
from components.training.loss_watch import LossWatch
from components.training.progress import Progress
from components.training.stages import Stage, Stages

Row = dict[str, Any]
MOST_STEPS_A_ROW, ROWS = 20, 100
FLUSH_MILLISECONDS = 5000
"""How long a row for TensorBoard may stay in memory when others follow it: whoever reads along is up to date."""


def steps_a_row(steps: int) -> int:
    """Steps from one row of the history by steps to the next.

    Rows are 20 steps apart, so that a GPU seldom waits; in a training of fewer than 2,000 steps they are closer, so
    that there are about 100. No setting changes that: the history is part of what training makes.

    Args:
        steps: Steps that are planned in all.
    """
    return min(MOST_STEPS_A_ROW, max(1, steps // ROWS))


class Telemetry(tf.keras.callbacks.Callback):
    """The history: a row every so many steps and a row an epoch, on the terminal and for TensorBoard as well.

    Looks at every step's loss, too, and ends training when it goes wrong.

    Args:
        logs: Directory for TensorBoard; emptied when training begins.
        steps_a_row: Steps from one row of the history by steps to the next.
        steps_per_epoch: Steps an epoch.
        stages: What a step sees and computes, by its number.
        measure_peak: Measures what the devices can do, in floating-point operations a second. It is called at once, and
            after an epoch that was faster: then other work was in the way of the measurement.
        given_peak_tflops: What the devices can do, where that is known.
        watch: Looks at the losses.
        progress: Shows the rows on the terminal.

    Attributes:
        measured_peak_tflops: The largest measurement, in 10^12 floating-point operations a second.
        rows: A row an epoch, by `EPOCH_COLUMNS`.
        step_rows: A row every `steps_a_row` steps, by `STEP_COLUMNS`.
        tokens_seen: Tokens of all steps, masked or not.
        gradient_bytes: Of the gradients of a step, once training is over; None where no step was made.
    """

    STEP_COLUMNS = tuple(field.name for field in dataclasses.fields(StepRow))
    EPOCH_COLUMNS = tuple(field.name for field in dataclasses.fields(EpochRow))

    def __init__(
        self,
        logs: Path,
        *,
        steps_a_row: int,
        steps_per_epoch: int,
        stages: Stages,
        measure_peak: Callable[[], float],
        given_peak_tflops: float | None = None,
        watch: LossWatch,
        progress: Progress,
    ) -> None:
        super().__init__()
        self.logs = logs
        self.steps_a_row = steps_a_row
        self.steps_per_epoch = steps_per_epoch
        self.stages = stages
        self.measure_peak = measure_peak
        self.measured_peak_tflops = measure_peak() / 1e12
        self.given_peak_tflops = given_peak_tflops
        self.watch = watch
        self.progress = progress
        self.rows: list[Row] = []
        self.step_rows: list[Row] = []
        self.tokens_seen = 0
        self.gradient_bytes: int | None = None
        self.step = 0
        self.window = Window()
        self.epoch = Window()
        self._unread: list[tuple[tf.Tensor, tf.Tensor]] = []
        self._mark = 0.0
        self._begins = True
        self._first: Row = {}
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        # Without it Keras would wait for the loss at every step.
        self._supports_tf_logs = True

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Opens TensorBoard's files. What an earlier run left has rows after the checkpoint, too."""
        shutil.rmtree(self.logs, ignore_errors=True)
        self._writers = {
            name: tf.summary.create_file_writer(str(self.logs / name), flush_millis=FLUSH_MILLISECONDS)
            for name in ("train", "validation")
        }

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Starts the clock, which stands still from the end of a step: validation and checkpoints aren't training."""
        self._mark = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keeps the step's numbers; reads them where a row is due, and around a stage's first step, to time it."""
        logs = logs or {}
        before = self.epoch.seconds
        is_traced = self._begins or self.stages.begins(self.step)
        next_is_traced = self.stages.begins(self.step + 1)
        self.step += 1
        self._unread.append((logs["step_loss"], logs["gradient_norm"]))
        is_due = self.step % self.steps_a_row == 0 or batch + 1 == self.steps_per_epoch
        if is_traced or next_is_traced or is_due:
            self.read()
        self._tick()
        if self._begins:
            first = self.window.loss / self.window.steps
            self._first = {"loss": first, "perplexity": perplexity(first)}
            self._begins = False
        if is_traced:
            for window in (self.window, self.epoch):
                window.leave_out(self.stages.at(self.step - 1), self.epoch.seconds - before)
        if self.step % self.steps_a_row == 0:
            row = {"step": self.step, **self.measures(self.window)}
            self.step_rows.append(row)
            self._board("train", row)
            self.window = Window()
        self.progress.step(self.step, self.step_rows[-1] if self.step_rows else self._first)

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Reads what is left of an epoch, before a validation whose time isn't training's."""
        self.read()
        self.progress.validation()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts a batch of the validation."""
        self.progress.validated()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Adds the epoch's row."""
        logs = logs or {}
        self.read()
        loss, validation = float(logs["loss"]), float(logs["val_loss"]) if "val_loss" in logs else None
        values = {
            **self.measures(self.epoch),
            "epoch": epoch + 1,
            "step": self.step,
            # By Keras' own mean: it weighs each batch by its labels.
            "loss": loss,
            "perplexity": perplexity(loss),
            "val_loss": validation,
            "val_perplexity": perplexity(validation),
            "seconds": self.epoch.seconds,
        }
        row = {name: values[name] for name in self.EPOCH_COLUMNS}
        self.rows.append(row)
        self.epoch = Window()
        self._board_validation(row)
        if row["tflops_per_second"] > self.measured_peak_tflops:
            self.measured_peak_tflops = max(self.measured_peak_tflops, self.measure_peak() / 1e12)
        self.progress.epoch(row, self.given_peak_tflops or self.measured_peak_tflops)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Closes TensorBoard's files, and takes the progress off the terminal."""
        self.progress.end()
        for writer in self._writers.values():
            writer.close()

    def read(self) -> None:
        """Reads the numbers of the steps since the last time, and looks at their losses.

        Raises:
            BadLoss: If one went wrong.
        """
        if not self._unread:
            return
        numbers = tf.cast(tf.convert_to_tensor(self._unread), tf.float32).numpy()  # (steps, 2)
        self._unread = []
        self._tick()
        for place, (loss, gradient_norm) in enumerate(numbers.tolist(), start=self.step - len(numbers) + 1):
            self.watch.see(place, loss)
            self.tokens_seen += self.stages.at(place - 1).tokens
            for window in (self.window, self.epoch):
                window.add(loss, gradient_norm, self.stages.at(place - 1))

    def measures(self, window: "Window") -> Row:
        """The columns that rows of both kinds have."""
        loss = window.loss / window.steps
        return {
            "loss": loss,
            "perplexity": perplexity(loss),
            "learning_rate": learning_rate(self.model.optimizer),
            "gradient_norm": window.gradient_norm / window.finite if window.finite else None,
            "tokens_per_second": window.a_second("tokens"),
            "tflops_per_second": window.a_second("flops") / 1e12,
        }

    def state(self) -> dict[str, Any]:
        """The state as JSON.

        Raises:
            BadLoss: If a loss went wrong, so that nothing is kept that is lost.
        """
        self.read()
        windows = {"window": vars(self.window), "epoch": vars(self.epoch), "watch": self.watch.state()}
        counts = {"step": self.step, "tokens_seen": self.tokens_seen}
        return {**counts, "rows": self.rows, "step_rows": self.step_rows, **windows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores a state that `state` returned, once training has begun."""
        self.step, self.rows, self.step_rows = state["step"], list(state["rows"]), list(state["step_rows"])
        self.tokens_seen = state["tokens_seen"]
        self.window, self.epoch = Window(**state["window"]), Window(**state["epoch"])
        self.watch.restore(state["watch"])
        for row in self.step_rows:
            self._board("train", row)
        for row in self.rows:
            self._board_validation(row)

    def _tick(self) -> None:
        """Adds the time since the last tick to the open rows."""
        now = time.perf_counter()
        for window in (self.window, self.epoch):
            window.seconds += now - self._mark
        self._mark = now

    def _board(self, writer: str, row: Row) -> None:
        with self._writers[writer].as_default(row["step"]):
            for name, value in row.items():
                if name != "step" and value is not None:
                    tf.summary.scalar(name, value)

    def _board_validation(self, row: Row) -> None:
        if row["val_loss"] is not None:
            values = {"step": row["step"], "loss": row["val_loss"], "perplexity": row["val_perplexity"]}
            self._board("validation", values)


@dataclasses.dataclass
class Window:
    """Sums over the steps of a row; `untimed` are those that are traced and compiled: a run's and a stage's first."""

    steps: int = 0
    finite: int = 0
    loss: float = 0.0
    gradient_norm: float = 0.0
    seconds: float = 0.0
    tokens: int = 0
    flops: float = 0.0
    untimed_seconds: float = 0.0
    untimed_tokens: int = 0
    untimed_flops: float = 0.0

    def add(self, loss: float, gradient_norm: float, stage: Stage) -> None:
        """Adds a step. Where float16 overflowed, its gradient is no number, and the optimizer left it out."""
        self.steps += 1
        self.loss += loss
        self.tokens += stage.tokens
        self.flops += stage.flops
        if math.isfinite(gradient_norm):
            self.finite += 1
            self.gradient_norm += gradient_norm

    def leave_out(self, stage: Stage, seconds: float) -> None:
        """Leaves a step that was added, and its time, out of the rates."""
        self.untimed_seconds += seconds
        self.untimed_tokens += stage.tokens
        self.untimed_flops += stage.flops

    def a_second(self, what: Literal["tokens", "flops"]) -> float:
        """The rate without the untimed steps; with them where there is no other."""
        every, untimed = getattr(self, what), getattr(self, f"untimed_{what}")
        if every == untimed:
            return float(every / self.seconds)
        return float((every - untimed) / (self.seconds - self.untimed_seconds))


def perplexity(loss: float | None) -> float | None:
    """Exp of a loss in nats; None where there is none, or it is too large for a number."""
    return None if loss is None or loss > 700 else math.exp(loss)


def learning_rate(optimizer: tf.keras.optimizers.Optimizer) -> float:
    """The learning rate of the step just made."""
    rate = optimizer.learning_rate
    if callable(rate):
        rate = rate(tf.maximum(optimizer.iterations - 1, 0))
    return float(tf.convert_to_tensor(rate))
