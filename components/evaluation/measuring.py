"""What answers amount to: metrics of the metric modules, sums by record, intervals, and metrics by slice."""

import math
import tempfile
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contract.reports import Ends, Interval, SliceReport
from components.evaluation.params import AFTER, BASELINE
from components.evaluation.questions import Questions
from components.evaluation.slices import Slice
from components.evaluation.statistics import Length, RecordSums, Resampled, records_needed
from foundation.errors import ModelError

if TYPE_CHECKING:
    from components.modeling.scoring import Scores

ACCURACIES = (1, 5)
"""How many of a model's first guesses count as right, in each of the accuracies."""
UNITS = {"characters": "bits_per_character", "bytes": "bits_per_byte"}


def measure_all(answers: "Mapping[str, Scores]", labels: np.ndarray) -> dict[str, float]:
    """Cross-entropy, perplexity and accuracy of every model.

    Args:
        answers: By the ending of the metrics' names; the accuracy of the trained model has the plain name.
        labels: (tokens,) the true tokens.

    Raises:
        ModelError: If a metric isn't a finite number.
    """
    metrics: dict[str, float] = {}
    for name, scores in answers.items():
        metrics |= measure(scores.log_probabilities, scores.top_ids, labels, name)
    for count in ACCURACIES:
        metrics[accuracy_name(count, AFTER)] = metrics.pop(f"top{count}_accuracy_{AFTER}")
    return metrics


def measure(log_probabilities: np.ndarray, top_ids: np.ndarray, labels: np.ndarray, name: str) -> dict[str, float]:
    """Cross-entropy, perplexity and accuracy of some answers, by the metric modules.

    Args:
        log_probabilities: (tokens,) natural logarithm of the probability given to each true token.
        top_ids: (tokens, k) the most probable tokens.
        labels: (tokens,) the true tokens.
        name: What the metrics' names end in.

    Raises:
        ModelError: If a metric isn't a finite number.
    """
    # The modules' classes rather than `evaluate.load`, which copies the script to a cache in the home directory.
    from components.metrics.masked_accuracy.masked_accuracy import MaskedAccuracy
    from components.metrics.masked_perplexity.masked_perplexity import MaskedPerplexity

    wrong = int(len(labels) - np.isfinite(log_probabilities).sum())
    if wrong:
        raise _not_finite(f"no finite probability at {wrong} of {len(labels)} masked tokens, {name}")
    with tempfile.TemporaryDirectory() as cache:
        place: dict[str, Any] = {"cache_dir": cache, "experiment_id": uuid.uuid4().hex, "keep_in_memory": True}
        perplexity = MaskedPerplexity(**place).compute(predictions=log_probabilities)
        accuracy = MaskedAccuracy(**place).compute(predictions=top_ids, references=labels, k=ACCURACIES)
    values = {metric: perplexity[metric] for metric in ("cross_entropy", "perplexity")} | accuracy
    for metric, value in values.items():
        if not math.isfinite(value):
            raise _not_finite(f"{metric} {value}, {name}")
    return {f"{metric}_{name}": float(value) for metric, value in values.items()}


def measure_pseudo_log_likelihood(texts: Sequence[np.ndarray]) -> dict[str, float]:
    """Pseudo-log-likelihood, the mean of some texts, and pseudo-perplexity, by the metric module.

    Args:
        texts: By text, the log-probabilities (tokens,) of its tokens, each masked by itself.
    """
    from components.metrics.pseudo_log_likelihood.pseudo_log_likelihood import PseudoLogLikelihood

    with tempfile.TemporaryDirectory() as cache:
        metric = PseudoLogLikelihood(cache_dir=cache, experiment_id=uuid.uuid4().hex, keep_in_memory=True)
        results = metric.compute(predictions=texts)
    return {name: float(results[name]) for name in ("pseudo_log_likelihood", "pseudo_perplexity")}


def record_sums(questions: Questions, scores: "Scores") -> RecordSums:
    """A model's answers by record.

    Args:
        questions: What it was asked.
        scores: Its answers, with at least 5 of the most probable tokens each.
    """
    hits = scores.top_ids[:, :5] == questions.masks.label[:, None]  # (masked tokens, 5)
    return RecordSums(
        masked=questions.by_record(np.ones(len(questions.masks))),
        loss=questions.by_record(-scores.log_probabilities.astype(np.float64)),
        top1=questions.by_record(hits[:, 0]),
        top5=questions.by_record(hits.any(axis=1)),
        text_tokens=questions.records.text_tokens,
    )


def length_of(questions: Questions) -> Length:
    """How long the records' text is."""
    return Length(questions.records.characters, questions.records.bytes)


def metrics_and_intervals(
    resampled: Resampled, with_perplexity: Collection[str]
) -> tuple[dict[str, float], dict[str, Ends]]:
    """What every model reached, beyond the metric modules, and the intervals of all of it.

    Args:
        resampled: Holds the models.
        with_perplexity: Those that answered the same questions. The perplexity of one with another tokenizer would
            mean something else.
    """
    metrics: dict[str, float] = {}
    intervals: dict[str, Ends] = {}

    def note(name: str, estimate: tuple[float, Interval | None], value_too: bool) -> None:
        value, interval = estimate
        if value_too:
            metrics[name] = value
        if interval is not None:
            intervals[name] = (interval.low, interval.high)

    for model in resampled.models:
        if model in with_perplexity:
            note(f"perplexity_{model}", resampled.perplexity(model), model == BASELINE)
            note(f"cross_entropy_{model}", resampled.cross_entropy_of(model), model == BASELINE)
            for count in ACCURACIES:
                note(accuracy_name(count, model), resampled.accuracy(count, model), model == BASELINE)
        for unit, name in UNITS.items():
            note(f"{name}_{model}", resampled.bits(unit, model), True)
    return metrics, intervals


def accuracy_name(count: int, model: str) -> str:
    """The name of the accuracy of a model's first guesses: the plain one is the trained model's."""
    return f"top{count}_accuracy" + ("" if model == AFTER else f"_{model}")


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


def _not_finite(received: str) -> ModelError:
    return ModelError(
        "a metric must be a finite number",
        received=received,
        remedy="look at the loss in the checkpoint's history.json; where it diverged, train again with a smaller "
        "--train.learning_rate",
    )
