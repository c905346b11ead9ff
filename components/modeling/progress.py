"""A training's progress: a line that is rewritten on a terminal, else a line an epoch."""

import time
from collections.abc import Mapping
from typing import Any


class Progress:
    """Tells how training goes.

    Args:
        steps: Steps in all.
        epochs: Epochs in all.
        on_terminal: Whether to rewrite a line after each step.
    """

    def __init__(self, steps: int, epochs: int, on_terminal: bool) -> None:
        self.steps = steps
        self.epochs = epochs
        self.on_terminal = on_terminal
        self._told = 0.0
        self._width = 0

    def step(self, step: int, measures: Mapping[str, Any] | None) -> None:
        """Rewrites the line, at most twice a second.

        Args:
            step: The step just made.
            measures: The last row of the history; None where there is none yet.
        """
        now = time.monotonic()
        if not self.on_terminal or (now - self._told < 0.5 and step < self.steps):
            return
        self._told = now
        self._rewrite(f"  step {step:,}/{self.steps:,}" + (f": {described(measures)}" if measures else ""))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Writes an epoch's line."""
        line = f"  epoch {row['epoch']}/{self.epochs}: {described(row)}, {row['seconds']:.1f} s"
        if self.on_terminal:
            self._rewrite(line)
            self._width = 0
            print()
        else:
            print(line, flush=True)

    def _rewrite(self, line: str) -> None:
        print("\r" + line.ljust(self._width), end="", flush=True)
        self._width = len(line)


def described(row: Mapping[str, Any]) -> str:
    """A row of the history in one line."""
    parts = [f"loss {row['loss']:.3f}"]
    shown = row["perplexity"]
    if row.get("val_loss") is not None:
        parts.append(f"validation {row['val_loss']:.3f}")
        shown = row["val_perplexity"]
    parts.append(f"perplexity {shown:,.1f}" if shown is not None else "perplexity above 1e300")
    parts.append(f"learning rate {row['learning_rate']:.1e}")
    if row["gradient_norm"] is not None:
        parts.append(f"gradient norm {row['gradient_norm']:.2f}")
    parts.append(f"{row['tokens_per_second']:,.0f} tokens/s")
    parts.append(f"MFU {row['model_flops_utilization']:.1%}")
    return ", ".join(parts)
