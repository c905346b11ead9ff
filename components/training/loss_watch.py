"""Finds a training loss gone wrong."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


class BadLoss(Exception):
    """The training loss went wrong.

    Args:
        step: The step at which it did, from 1.
        what: What was found, in a few words.
    """

    def __init__(self, step: int, what: str) -> None:
        super().__init__(step, what)
        self.step = step
        self.what = what


SMOOTHING = 0.98
"""How much of the smoothed loss a step keeps: about 50 steps are averaged."""
DIVERGED_STEPS = 100
MARGIN_NATS = 1.0


@dataclasses.dataclass
class LossWatch:
    """Finds the step at which the training loss is no number, or from which training has diverged.

    Training has diverged when the smoothed loss, an exponential average over about 50 steps, has been above `factor`
    times the lowest smoothed loss so far, and 1 nat above it, for 100 steps in a row. A batch out of the ordinary is
    no divergence, nor is a plateau, nor a loss near 0 that doubles.

    Attributes:
        factor: How many times the lowest is too high; 0 for never.
        steps: Steps seen.
        average: Of the losses, before its correction for the start.
        lowest: The lowest smoothed loss, once 50 steps are in it.
        above: For how many steps the smoothed loss has been too high.
    """

    factor: float
    steps: int = 0
    average: float = 0.0
    lowest: float = math.inf
    above: int = 0

    def see(self, step: int, loss: float) -> None:
        """Looks at the next loss.

        Raises:
            BadLoss: With the step, counted from 1, at which it went wrong.
        """
        if not math.isfinite(loss):
            raise BadLoss(step, "a loss that is NaN or infinity")
        self.steps += 1
        self.average = SMOOTHING * self.average + (1 - SMOOTHING) * loss
        smoothed = self.average / (1 - SMOOTHING**self.steps)
        too_high = self.factor > 0 and smoothed > max(self.factor * self.lowest, self.lowest + MARGIN_NATS)
        self.above = self.above + 1 if too_high else 0
        if self.above >= DIVERGED_STEPS:
            first = step - self.above + 1
            raise BadLoss(
                first, f"a smoothed loss of {smoothed:#.4g} at step {step}, after {self.lowest:#.4g} at its best"
            )
        if self.steps * (1 - SMOOTHING) >= 1:
            self.lowest = min(self.lowest, smoothed)

    def state(self) -> dict[str, Any]:
        """The state as JSON, which has no infinity."""
        return {**vars(self), "lowest": None if math.isinf(self.lowest) else self.lowest}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores a state that `state` returned."""
        vars(self).update(state)
        self.lowest = math.inf if state["lowest"] is None else state["lowest"]
