"""The gate: whether a model may reach anyone, decided so that noise doesn't open it."""

import dataclasses

from components.contract.reports import Check, Interval
from components.evaluation.params import AFTER, BASELINE, BEFORE, SEED_MARGIN, UNIGRAM
from components.evaluation.statistics import Resampled, records_needed
from foundation.perplexity import perplexity_text

COUNTING = "guessing by word frequency"


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a model must reach; None where that isn't looked at.

    Attributes:
        max_perplexity: The highest perplexity.
        min_improvement_over_start: Part by which perplexity falls below the model's before training.
        min_improvement_over_unigram: Part by which it falls below that of guessing by word frequency.
        min_improvement_over_baseline: Part by which it falls below the baseline's.
    """

    max_perplexity: float | None
    min_improvement_over_start: float | None
    min_improvement_over_unigram: float | None
    min_improvement_over_baseline: float | None


def check_all(
    resampled: Resampled, thresholds: Thresholds, *, baseline: str | None, same_tokenizer: bool
) -> list[Check]:
    """The conditions, one by one.

    Args:
        resampled: Holds the models `before`, `after`, `unigram` and, where there is one, `baseline`.
        thresholds: What the model must reach.
        baseline: What the baseline is called; None for none.
        same_tokenizer: Whether the baseline answered the same questions; else bits a character are compared.
    """
    needed = records_needed(resampled.confidence)
    if not resampled.enough:
        return [
            Check(
                "records",
                False,
                f"a {resampled.confidence:.4g} interval needs at least {needed:,} test records with masked tokens, and "
                f"there are {resampled.records:,} (ingest more text, raise --ingest.test_size or lower "
                "--evaluate.confidence)",
                resampled.records,
                None,
                needed,
            )
        ]
    checks = []
    if thresholds.max_perplexity is not None:
        value, interval = resampled.perplexity(AFTER)
        checks.append(_below("max_perplexity", "", value, interval, thresholds.max_perplexity))
    if thresholds.min_improvement_over_start is not None:
        change, interval = resampled.perplexity_ratio(AFTER, BEFORE)
        other = "that before training"
        limit = 1 - thresholds.min_improvement_over_start
        checks.append(_below("improvement_over_start", other, change, interval, limit))
    if thresholds.min_improvement_over_unigram is not None:
        checks.append(_over_unigram(resampled, 1 - thresholds.min_improvement_over_unigram))
    if baseline is not None and thresholds.min_improvement_over_baseline is not None:
        if same_tokenizer:
            change, interval = resampled.perplexity_ratio(AFTER, BASELINE)
            other = f"that of {baseline}"
        else:
            change, interval = resampled.bits_ratio(AFTER, BASELINE)
            other = f"those of {baseline}, which has another tokenizer"
        limit = 1 - thresholds.min_improvement_over_baseline
        metric = "perplexity is" if same_tokenizer else "bits per character are"
        checks.append(_below("improvement_over_baseline", other, change, interval, limit, metric))
    return checks


def beside_counting(resampled: Resampled) -> str | None:
    """That a model is no better than counting words, in plain words; None where it is better, beyond chance.

    This is said whatever the thresholds are. Without records enough for an interval, what was measured counts.

    Args:
        resampled: Holds the models `after` and `unigram`.
    """
    ratio, interval = resampled.perplexity_ratio(AFTER, UNIGRAM)
    low, high = (ratio, ratio) if interval is None else (interval.low, interval.high)
    if high < 1 - SEED_MARGIN:
        return None
    if low > 1:
        return f"worse than {COUNTING}"
    return f"hardly better than {COUNTING}" if high < 1 else f"not better than {COUNTING}, beyond chance"


def ratio_in_words(ratio: float, interval: Interval, other: str) -> str:
    """A ratio as a difference, such as `12.3% below that before training (interval 11.0% to 13.5%)`.

    Args:
        ratio: One value over another.
        interval: Its interval. An end on the other side of 1 than the ratio is written as a negative difference.
        other: What the other value is called; empty where it stands beside.
    """
    if ratio > 1:
        found, low, high = ratio - 1, interval.low - 1, interval.high - 1
    else:
        found, low, high = 1 - ratio, 1 - interval.high, 1 - interval.low
    side = "above" if ratio > 1 else "below"
    return f"{found:,.1%} {side}{other and f' {other}'} (interval {low:z,.1%} to {high:z,.1%})"


def sentence_of(checks: list[Check]) -> str:
    """Why a model is blessed or not, in one sentence without its full stop."""
    failed = [check.sentence for check in checks if not check.passed]
    if failed:
        return "not blessed: " + "; ".join(failed)
    return "blessed: " + ("; ".join(check.sentence for check in checks) or "no threshold is set")


def _below(
    name: str, other: str, value: float, interval: Interval | None, limit: float, metric: str = "perplexity is"
) -> Check:
    """Passes where the interval's upper end is below the limit; an interval that isn't finite never is."""
    if interval is None:  # pragma: no cover (records were counted before)
        return Check(name, False, f"{metric} without an interval", value, None, limit)
    if other:
        found, wanted = ratio_in_words(value, interval, other), _wanted(limit)
    else:
        found = (
            f"{perplexity_text(value)} (interval {perplexity_text(interval.low)} to {perplexity_text(interval.high)})"
        )
        wanted = f"below {perplexity_text(limit)}"
    sentence = f"{metric} {found}{_end(interval, limit, wanted)}"
    return Check(name, interval.high < limit, sentence, value, interval, limit)


def _over_unigram(resampled: Resampled, limit: float) -> Check:
    """Compares with guessing by word frequency; a failure says in plain words what that means, with both numbers."""
    name = "improvement_over_unigram"
    ratio, interval = resampled.perplexity_ratio(AFTER, UNIGRAM)
    check = _below(name, f"that of {COUNTING}", ratio, interval, limit)
    standing = beside_counting(resampled)
    if check.passed or standing is None or interval is None:
        return check
    after, unigram = (perplexity_text(resampled.perplexity(model)[0]) for model in (AFTER, UNIGRAM))
    found = f"perplexity {after}, unigram {unigram}, that is {ratio_in_words(ratio, interval, '')}"
    return dataclasses.replace(check, sentence=f"{standing}: {found}{_end(interval, limit, _wanted(limit))}")


def _end(interval: Interval, limit: float, wanted: str) -> str:
    """What a sentence about a check ends in: nothing where it passed, else why it didn't."""
    if interval.high < limit:
        return ""
    if interval.low < limit:
        return f", which chance can explain: all of the interval must be {wanted}"
    return f", and must be {wanted}"


def _wanted(limit: float) -> str:
    """The limit of a ratio, in words."""
    part = f"{abs(1 - limit) * 100:.4g}%"
    return f"more than {part} below" if limit < 1 else f"less than {part} above" if limit > 1 else "below"
