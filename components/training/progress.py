"""A training's progress: how far it is while it runs, and a line an epoch."""

import math
import time
from collections.abc import Mapping
from typing import Any

from foundation.perplexity import perplexity_text
from foundation.terminal import TERMINAL

MOST_BAR, LEAST_BAR = 30, 5
"""Columns of the bar."""
LONG_VALIDATION_SECONDS = 3.0


class Progress:
    """Shows on the terminal how far training is.

    Args:
        steps: Steps in all.
        epochs: Epochs in all.
        peak_tflops: What the devices can do, in 10^12 floating-point operations a second.
    """

    def __init__(self, steps: int, epochs: int, peak_tflops: float) -> None:
        self.steps = steps
        self.epochs = epochs
        self.peak_tflops = peak_tflops
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
        """Shows that the model is validated, if that takes long."""
        began = time.monotonic()

        def line(columns: int | None) -> str:
            seconds = time.monotonic() - began
            if seconds < LONG_VALIDATION_SECONDS:
                return self.line(columns)
            return f"  step {self._step:,}/{self.steps:,}, validation for {clock(seconds)}"[:columns]

        TERMINAL.status(line)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Writes an epoch's line."""
        TERMINAL.paragraph(
            f"  epoch {row['epoch']}/{self.epochs}: {described(row, self.peak_tflops)}, {row['seconds']:.1f} s"
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

        def known(*names: str) -> list[str]:
            return [facts[name] for name in names if name in facts]

        share = min(self._step / self.steps, 1.0)
        count, percent = f"{self._step:,}/{self.steps:,}", f"{math.floor(share * 100)}%"
        everything, most = known("loss", "perplexity", "rate", "eta"), known("loss", "rate", "eta")
        if columns is None:
            return "  " + ", ".join([f"step {count}", percent, *everything])
        for shown, least in ((everything, 2 * LEAST_BAR), (most, LEAST_BAR)):
            start, end = f"  step {count} ", f" {percent} {' · '.join(shown)}".rstrip()
            room = min(columns - len(start) - len(end), MOST_BAR)
            if room >= least:
                return start + bar(share, room) + end
        for line in (
            f"  step {count} {percent} {' · '.join(most)}",
            f"  step {count} {' '.join(most)}",
            " ".join([count, *known("loss", "short rate", "eta")]),
            " ".join([count, *known("loss", "eta")]),
            " ".join([count, percent, *known("eta")]),
            f"{count} {percent}",
        ):
            if len(line.rstrip()) <= columns:
                return line.rstrip()
        return percent[:columns]

    def _facts(self) -> dict[str, str]:
        """What is known by now, by name."""
        facts = {}
        if "loss" in self._measures:
            facts["loss"] = f"loss {self._measures['loss']:#.4g}"
            facts["perplexity"] = shown_perplexity(self._measures["perplexity"])
        if "tokens_per_second" in self._measures:
            rate = short_number(self._measures["tokens_per_second"])
            facts["rate"], facts["short rate"] = f"{rate} tok/s", f"{rate}/s"
        seconds = self.remaining_seconds()
        if seconds is not None:
            facts["eta"] = f"ETA {clock(seconds)}"
        return facts

    def remaining_seconds(self) -> float | None:
        """How long training will last, by the time of the steps of this run; None before the second."""
        if self._start is None or self._step == self._start[0]:
            return None
        step, began = self._start
        return (self.steps - self._step) * (self._time - began) / (self._step - step)


def described(row: Mapping[str, Any], peak_tflops: float) -> str:
    """A row of the history in one line, with its utilisation (MFU) of the devices' peak."""
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
    parts.append(f"MFU {row['tflops_per_second'] / peak_tflops:.1%}")
    return ", ".join(parts)


def shown_perplexity(perplexity: float | None) -> str:
    """A row's perplexity, which is None where it is too large for a number."""
    return f"perplexity {perplexity_text(math.inf if perplexity is None else perplexity)}"


def bar(share: float, columns: int) -> str:
    """A share, 0 to 1, as a bar."""
    full = math.floor(share * columns)
    return "█" * full + "░" * (columns - full)


def short_number(value: float) -> str:
    """A number in at most four characters or so: 812, 7.1k, 26k, 1.2M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size * 0.9995:
            return f"{value / size:.{0 if value >= 9.95 * size else 1}f}{unit}"
    return f"{value:.0f}"


def clock(seconds: float) -> str:
    """A time as 0:18, 1:02:05 or 2 days 03:04."""
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days {hours % 24:02d}:{minute:02d}"
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
