"""A training's progress: how far it is while it runs, and a line an epoch."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from foundation.perplexity import perplexity_text
from foundation.terminal import TERMINAL
from foundation.terminal.progress import Progress as Work
from foundation.terminal.progress import clock, composed, short_number

LONG_VALIDATION_SECONDS = 3.0


class Progress:
    """Shows on the terminal how far training is.

    Args:
        steps: Steps in all.
        epochs: Epochs in all.
        validation_batches: Batches of a validation.
        work_before: How much there is to do in the steps before one, in any unit: their number where all are equal.
    """

    def __init__(
        self,
        steps: int,
        epochs: int,
        validation_batches: int = 0,
        work_before: Callable[[int], float] = float,
    ) -> None:
        self.steps = steps
        self.epochs = epochs
        self.validation_batches = validation_batches
        self.work_before = work_before
        self._validation = Work("validating", validation_batches, "batches")
        self._step = 0
        self._measures: Mapping[str, Any] = {}
        self._time = 0.0
        self._start: tuple[int, float] | None = None

    def step(self, step: int, measures: Mapping[str, Any]) -> None:
        """Shows a step that was just made.

        Args:
            step: The step just made.
            measures: The last row of the history, or of its columns what is known before there is one.
        """
        self._step, self._time = step, time.monotonic()
        self._measures = measures
        if self._start is None:
            # The first step is no measure of the others: it is traced and compiled.
            self._start = (step, self._time)
        TERMINAL.status(self.line)

    def validation(self) -> None:
        """Shows how far the validation is that begins, if it takes long."""
        began = time.monotonic()
        validation = self._validation = Work("validating", self.validation_batches, "batches")
        validation.step = "train"

        def line(columns: int | None) -> str:
            is_long = time.monotonic() - began >= LONG_VALIDATION_SECONDS
            return validation.line(columns) if is_long else self.line(columns)

        TERMINAL.status(line)

    def validated(self) -> None:
        """Counts a batch of the validation."""
        self._validation.advance()

    def epoch(self, row: Mapping[str, Any], peak_tflops: float) -> None:
        """Writes an epoch's line.

        Args:
            row: The epoch's row of the history.
            peak_tflops: What the devices can do, in 10^12 floating-point operations a second.
        """
        TERMINAL.paragraph(
            f"  epoch {row['epoch']}/{self.epochs}: {described(row, peak_tflops)}, {row['seconds']:.1f} s"
        )
        TERMINAL.status(self.line)

    def end(self) -> None:
        """Takes the progress off the terminal: training is over."""
        TERMINAL.status(None)

    def line(self, columns: int | None) -> str:
        """The progress in one line, with as many measures as there is room for.

        Args:
            columns: At most so many; None for any number, without a bar.
        """
        facts = self._facts()

        ladder = ("loss", "perplexity", "rate", "eta"), ("loss", "rate", "eta"), ("loss", "eta"), ("eta",)
        known = [[facts[name] for name in names if name in facts] for names in ladder]
        count = f"{self._step:,}/{self.steps:,}"
        return composed(columns, [f"  step {count}", count], min(self._step / self.steps, 1.0), known)

    def _facts(self) -> dict[str, str]:
        """What is known by now, by name."""
        facts = {}
        if "loss" in self._measures:
            facts["loss"] = f"loss {self._measures['loss']:#.4g}"
            facts["perplexity"] = shown_perplexity(self._measures["perplexity"])
        if "tokens_per_second" in self._measures:
            facts["rate"] = f"{short_number(self._measures['tokens_per_second'])} tok/s"
        seconds = self.remaining_seconds()
        if seconds is not None:
            facts["eta"] = f"ETA {clock(seconds)}"
        return facts

    def remaining_seconds(self) -> float | None:
        """How long training will last, by the time that the work of this run took; None before the second step."""
        if self._start is None:
            return None
        step, began = self._start
        done = self.work_before(self._step) - self.work_before(step)
        left = self.work_before(self.steps) - self.work_before(self._step)
        return left * (self._time - began) / done if done else None


def described(row: Mapping[str, Any], peak_tflops: float) -> str:
    """A row of the history in one line, with its utilization (MFU) of the devices' peak where that can be true."""
    parts = [f"loss {row['loss']:#.4g}"]
    shown = row["perplexity"]
    if row.get("val_loss") is not None:
        parts.append(f"validation {row['val_loss']:#.4g}")
        shown = row["val_perplexity"]
    parts.append(shown_perplexity(shown))
    parts.append(f"learning rate {row['learning_rate']:.1e}")
    if row["gradient_norm"] is not None:
        parts.append(f"gradient norm {row['gradient_norm']:.2f}")
    parts.append(f"{row['tokens_per_second']:,.0f} tokens/s")
    if row["tflops_per_second"] <= peak_tflops:
        parts.append(f"MFU {row['tflops_per_second'] / peak_tflops:.1%}")
    return ", ".join(parts)


def shown_perplexity(perplexity: float | None) -> str:
    """A row's perplexity, which is None where it is too large for a number."""
    return f"perplexity {perplexity_text(math.inf if perplexity is None else perplexity)}"
