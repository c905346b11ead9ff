"""Metrics of several models on the same records, each with its interval, whole and by slice.

The intervals are those of the paired bootstrap over records: Efron and Tibshirani 1993, "An Introduction to the
Bootstrap", chapter 13 (the percentile interval); Koehn 2004, "Statistical Significance Tests for Machine Translation
Evaluation" (https://aclanthology.org/W04-3250), for pairing. Tokens of one record aren't independent of each other,
records are: so records are drawn.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from components.contract.reports import Interval
from components.evaluation.slices import Slice
from foundation.terminal import TERMINAL

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
    with TERMINAL.progress("drawing records", resamples, "times") as progress:
        for start in range(0, resamples, at_once):
            rows = min(at_once, resamples - start)
            drawn = random.integers(0, records, (rows, records))  # (rows, records)
            cells = drawn + np.arange(rows)[:, None] * records
            counts = np.bincount(cells.reshape(-1), minlength=rows * records).reshape(rows, records)
            sums[start : start + rows] = counts.astype(np.float64) @ columns  # (rows, columns)
            progress.advance(rows)
    return sums


def percentile_interval(values: np.ndarray, confidence: float) -> Interval:
    """The middle part of resampled values (resamples,) that holds a share `confidence` of them."""
    outside = (1 - confidence) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return Interval(float(low), float(high))


@dataclasses.dataclass(frozen=True)
class RecordSums:
    """What one model's answers add up to, by record: records without a masked token have none.

    Attributes:
        masked: (records,) float64, masked tokens.
        loss: (records,) float64, their summed cross-entropy in nats.
        top1: (records,) float64, masked tokens that were the first guess.
        top5: (records,) float64, masked tokens among the first five guesses.
        text_tokens: (records,) float64, all tokens of the text.
    """

    masked: np.ndarray
    loss: np.ndarray
    top1: np.ndarray
    top5: np.ndarray
    text_tokens: np.ndarray


@dataclasses.dataclass(frozen=True)
class Length:
    """How long the records' text is.

    Attributes:
        characters: (records,) float64, Unicode code points.
        bytes: (records,) float64, in UTF-8.
    """

    characters: np.ndarray
    bytes: np.ndarray


class Resampled:
    """Metrics over resampled records. Every metric sees the same draws, so that differences are paired.

    Args:
        models: Each model's sums, by its name, over the same records.
        length: The lengths of the records' text.
        slices: Parts of the masked tokens.
        slice_loss: For each model, by its name, the loss of the masked tokens, (masked tokens,) in nats.
        record: (masked tokens,) the record that each token belongs to.
        confidence: The confidence of the intervals, above 0 and below 1.
        resamples: How often the records are drawn anew.
        seed: The seed of these draws.
    """

    def __init__(
        self,
        models: Mapping[str, RecordSums],
        length: Length,
        slices: Sequence[Slice] = (),
        slice_loss: Mapping[str, np.ndarray] | None = None,
        record: np.ndarray | None = None,
        *,
        confidence: float,
        resamples: int,
        seed: int,
    ) -> None:
        columns: dict[tuple[str, ...], np.ndarray] = {
            ("characters",): length.characters,
            ("bytes",): length.bytes,
        }
        for name, sums in models.items():
            columns |= {(name, field.name): getattr(sums, field.name) for field in dataclasses.fields(sums)}
        everyone = len(length.characters)
        for part in slices:
            at = np.asarray(record)[part.chosen]
            columns[("slice", part.group, part.name)] = np.bincount(at, minlength=everyone)
            for name, loss in (slice_loss or {}).items():
                columns[("slice", part.group, part.name, name)] = np.bincount(at, loss[part.chosen], minlength=everyone)
        # A record that no model was asked about says nothing.
        asked = np.logical_or.reduce([sums.masked > 0 for sums in models.values()])
        matrix = np.stack([column[asked].astype(np.float64) for column in columns.values()], axis=1)
        self.models = tuple(models)
        self.records = int(asked.sum())
        self.confidence = confidence
        self.enough = self.records >= records_needed(confidence)
        self._place = {name: number for number, name in enumerate(columns)}
        self._whole = matrix.sum(axis=0)  # (columns,)
        self._holding = (matrix > 0).sum(axis=0)  # (columns,) records in which a column isn't 0
        self._drawn = resampled_sums(matrix, resamples=resamples, seed=seed) if self.enough else None

    def cross_entropy(self, model: str, sums: np.ndarray) -> np.ndarray:
        """Nats a masked token, (...,), from column sums (..., columns)."""
        return self._ratio(sums, (model, "loss"), (model, "masked"))

    def bits_per(self, unit: str, model: str, sums: np.ndarray) -> np.ndarray:
        """Bits a character or byte, (...,): those a token, times the tokens a character or byte of the text."""
        bits = self.cross_entropy(model, sums) / math.log(2)
        return bits * self._ratio(sums, (model, "text_tokens"), (unit,))

    def perplexity(self, model: str) -> tuple[float, Interval | None]:
        """A model's perplexity and its interval (None for too few records)."""
        return self._estimate(lambda sums: np.exp(self.cross_entropy(model, sums)))

    def cross_entropy_of(self, model: str) -> tuple[float, Interval | None]:
        """A model's cross-entropy in nats a masked token, and its interval."""
        return self._estimate(lambda sums: self.cross_entropy(model, sums))

    def bits(self, unit: str, model: str) -> tuple[float, Interval | None]:
        """A model's bits a `characters` or `bytes`, and their interval."""
        return self._estimate(lambda sums: self.bits_per(unit, model, sums))

    def accuracy(self, count: int, model: str) -> tuple[float, Interval | None]:
        """The share of masked tokens among a model's first guesses, 1 or 5 of them, and its interval."""
        return self._estimate(lambda sums: self._ratio(sums, (model, f"top{count}"), (model, "masked")))

    def perplexity_ratio(self, model: str, other: str) -> tuple[float, Interval | None]:
        """A model's perplexity over another's that answered the same questions."""
        return self._estimate(lambda sums: np.exp(self.cross_entropy(model, sums) - self.cross_entropy(other, sums)))

    def bits_ratio(self, model: str, other: str) -> tuple[float, Interval | None]:
        """A model's bits a character over those of another, which may have another tokenizer."""
        return self._estimate(
            lambda sums: self.bits_per("characters", model, sums) / self.bits_per("characters", other, sums)
        )

    def slice(self, part: Slice, model: str) -> tuple[float | None, Interval | None]:
        """A model's perplexity on a slice, and its interval; None where the slice or its records are too few."""
        tokens = ("slice", part.group, part.name)
        if not self._whole[self._place[tokens]]:
            return None, None
        enough = self._holding[self._place[tokens]] >= records_needed(self.confidence)
        return self._estimate(lambda sums: np.exp(self._ratio(sums, (*tokens, model), tokens)), enough)

    def slice_counts(self, part: Slice) -> tuple[int, int]:
        """A slice's masked tokens, and the records that they are in."""
        place = self._place[("slice", part.group, part.name)]
        return int(self._whole[place]), int(self._holding[place])

    def _ratio(self, sums: np.ndarray, above: tuple[str, ...], below: tuple[str, ...]) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: np.ndarray = sums[..., self._place[above]] / sums[..., self._place[below]]
        return ratio

    def _estimate(
        self, metric: Callable[[np.ndarray], np.ndarray], enough: bool = True
    ) -> tuple[float, Interval | None]:
        value = float(metric(self._whole))
        if self._drawn is None or not enough:
            return value, None
        values = metric(self._drawn)  # (resamples,)
        # A draw that misses a rare slice altogether says nothing about it.
        return value, percentile_interval(values[np.isfinite(values)], self.confidence)
