"""The part of each batch that one of several processes masks, as one process would have masked it."""

import dataclasses
import functools
import math

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Share:
    """Rows of a batch.

    Attributes:
        size: Rows of the whole batch.
        rows: (rows,) their numbers in it, from 0, each at most once.
    """

    size: int
    rows: np.ndarray

    @functools.cached_property
    def _runs(self) -> tuple[list[tuple[int, int]], np.ndarray]:
        """The rows in rising order, as pairs of a first one and the one after the last; and where each stands there."""
        order = np.argsort(self.rows)
        rising = self.rows[order]
        ends = np.flatnonzero(np.diff(rising) > 1) + 1
        runs = [(int(run[0]), int(run[-1]) + 1) for run in np.split(rising, ends) if len(run)]
        return runs, np.argsort(order)

    def random(self, generator: np.random.Generator, *shape: int) -> np.ndarray:
        """The rows (rows, *shape) float64 of what a generator draws for the whole batch (size, *shape), from 0 to 1.

        What other rows would get is passed over, not drawn: a number takes one step of the generator (PCG64).
        """
        runs, places = self._runs
        each = math.prod(shape)
        drawn, at = [], 0
        for first, end in runs:
            generator.bit_generator.advance((first - at) * each)  # type: ignore[attr-defined]
            drawn.append(generator.random((end - first, *shape)))
            at = end
        generator.bit_generator.advance((self.size - at) * each)  # type: ignore[attr-defined]
        return np.concatenate(drawn)[places]
