"""Confidence intervals by the paired bootstrap over records.

Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (the percentile interval); Koehn 2004,
"Statistical Significance Tests for Machine Translation Evaluation" (https://aclanthology.org/W04-3250), for pairing.
Tokens of one record aren't independent of each other, records are: so records are drawn.
"""

import math

import numpy as np

from components.contract.reports import Interval

CELLS_AT_ONCE = 1 << 18
"""Draws held at once: they fit a core's cache."""
FEWEST_RECORDS = 20
"""With fewer, a percentile interval is markedly too narrow, whatever its confidence."""


def records_needed(confidence: float) -> int:
    """The fewest records that an interval at a confidence rests on.

    What happens to fewer than one in 1 / (1 - confidence) can't show among fewer records than that.

    Args:
        confidence: Above 0 and below 1.
    """
    return max(FEWEST_RECORDS, math.ceil(round(1 / (1 - confidence), 6)))


def resampled_sums(columns: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """The columns' sums over resampled records: as many as there are, drawn with replacement.

    Every column sees the same draws, so that a difference between two of them is a paired one.

    Args:
        columns: (records, columns) float64.
        resamples: How often.
        seed: A whole number from 0.

    Returns:
        (resamples, columns) float64.
    """
    random = np.random.default_rng(seed)
    records = len(columns)
    at_once = max(1, CELLS_AT_ONCE // records)
    sums = np.empty((resamples, columns.shape[1]))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = random.integers(0, records, (rows, records))  # (rows, records)
        cells = drawn + np.arange(rows)[:, None] * records
        counts = np.bincount(cells.reshape(-1), minlength=rows * records).reshape(rows, records)
        sums[start : start + rows] = counts.astype(np.float64) @ columns  # (rows, columns)
    return sums


def percentile_interval(values: np.ndarray, confidence: float) -> Interval:
    """The middle part of resampled values (resamples,) that holds a share `confidence` of them."""
    outside = (1 - confidence) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return Interval(float(low), float(high))
