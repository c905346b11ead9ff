"""What an evaluation writes: metrics with intervals, slices, the blessing, and the answers they rest on."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.contract.reports import Ends, Interval, SliceReport
from components.evaluation.bootstrap import records_needed
from components.evaluation.gate import BASELINE
from components.evaluation.questions import Questions
from components.evaluation.slices import Slice
from components.evaluation.statistics import Length, RecordSums, Resampled
from components.modeling.scoring import Scores

UNITS = {"characters": "bits_per_character", "bytes": "bits_per_byte"}


def record_sums(questions: Questions, log_probabilities: np.ndarray, top_ids: np.ndarray) -> RecordSums:
    """A model's answers by record.

    Args:
        questions: What it was asked.
        log_probabilities: (masked tokens,) of the true tokens.
        top_ids: (masked tokens, at least 5) the most probable tokens, best first.
    """
    hits = top_ids[:, :5] == questions.masks.label[:, None]  # (masked tokens, 5)
    return RecordSums(
        masked=questions.by_record(np.ones(len(questions.masks))),
        loss=questions.by_record(-log_probabilities.astype(np.float64)),
        top1=questions.by_record(hits[:, 0]),
        top5=questions.by_record(hits.any(axis=1)),
        text_tokens=questions.records.text_tokens,
    )


def length_of(questions: Questions) -> Length:
    """How long the records' text is."""
    return Length(questions.records.characters, questions.records.bytes)


def metrics_and_intervals(
    resampled: Resampled, models: Sequence[str], same_tokenizer: bool
) -> tuple[dict[str, float], dict[str, Ends]]:
    """What every model reached, beyond the metric modules, and the intervals of all of it.

    Args:
        resampled: Holds the models.
        models: Their names.
        same_tokenizer: Whether the baseline's perplexity means the same as the others'.
    """
    metrics: dict[str, float] = {}
    intervals: dict[str, Ends] = {}

    def note(name: str, estimate: tuple[float, Interval | None], value_too: bool) -> None:
        value, interval = estimate
        if value_too:
            metrics[name] = value
        if interval is not None:
            intervals[name] = (interval.low, interval.high)

    for model in models:
        if model != BASELINE or same_tokenizer:
            note(f"perplexity_{model}", resampled.perplexity(model), model == BASELINE)
            note(f"cross_entropy_{model}", resampled.cross_entropy_of(model), model == BASELINE)
            for count in (1, 5):
                ending = "" if model == "after" else f"_{model}"  # the plain name is the trained model's
                note(f"top{count}_accuracy{ending}", resampled.accuracy(count, model), model == BASELINE)
        for unit, name in UNITS.items():
            note(f"{name}_{model}", resampled.bits(unit, model), True)
    return metrics, intervals


def describe_slices(resampled: Resampled, slices: Sequence[Slice], models: Sequence[str]) -> tuple[SliceReport, ...]:
    """Every slice with its size and the models' perplexity on it."""
    described = []
    for part in slices:
        tokens, records = resampled.slice_counts(part)
        perplexities: dict[str, Any] = {}
        for model in models:
            value, interval = resampled.slice(part, model)
            perplexities[f"perplexity_{model}"] = value
            perplexities[f"interval_{model}"] = None if interval is None else (interval.low, interval.high)
        needed, note = records_needed(resampled.confidence), None
        if not tokens:
            note = "empty: no masked token of the test split belongs here, so nothing was measured"
        elif records < needed:
            note = f"too few records for an interval: {records:,} of the {needed:,} it needs"
        described.append(
            SliceReport(
                group=part.group, name=part.name, masked_tokens=tokens, records=records, note=note, **perplexities
            )
        )
    return tuple(described)


def save_scores(path: Path, questions: Questions, log_probabilities: Mapping[str, np.ndarray]) -> None:
    """Writes what every model answered, in the order of the masks, and whose tokens they are."""
    arrays: dict[str, Any] = {f"log_probability_{name}": values for name, values in log_probabilities.items()}
    np.savez_compressed(path, record=questions.records.row[questions.record], **arrays)


def save_baseline(path: Path, questions: Questions, scores: Scores) -> None:
    """Writes the questions and answers of a baseline with another tokenizer."""
    masks = dataclasses.replace(questions.masks, block=questions.indices[questions.masks.block].astype(np.int32))
    fields: dict[str, Any] = {field.name: getattr(masks, field.name) for field in dataclasses.fields(masks)}
    np.savez_compressed(
        path,
        record=questions.records.row[questions.record],
        text_tokens=questions.records.text_tokens,
        log_probability_baseline=scores.log_probabilities,
        **fields,
    )
