"""How far a piece of work is whose parts can't be counted, but take known shares of its time."""

import time
from collections.abc import Mapping

from foundation.terminal.progress import Progress

MOST_OF_A_STAGE = 0.95
"""How much of a stage is shown as done while it lasts, however long that is."""


class Stages(Progress):
    """Work in stages, one after the other.

    The stages that are over say how fast the machine is, and so how far the present one should be by now.

    Args:
        shares: The stages in order, each with its share of the time, in any unit.

    Example:
        with TERMINAL.showing(Stages({"loading": 1, "saving": 3})) as stages:
            load()
            stages.enter("saving")
            save()
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        super().__init__(next(iter(shares)), sum(shares.values()), unit=None)
        self._shares = shares
        self._entered = self._created

    def enter(self, stage: str) -> None:
        """Begins the next stage."""
        self.done += self._shares[self.doing]
        self.doing, self._entered = stage, time.monotonic()

    @property
    def all_done(self) -> float:
        """How much is done, the present stage by its time."""
        seconds = self._entered - self._created
        if not self.done or not seconds:
            return 0.0
        of_stage = (time.monotonic() - self._entered) * self.done / seconds
        return self.done + min(of_stage, MOST_OF_A_STAGE * self._shares[self.doing])
