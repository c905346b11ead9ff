"""Runs side by side: what was set differently, what came out, and whether the differences are more than chance."""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract import manifest, run_names
from components.contract.reports import Measurement
from components.evaluation.params import SEED_MARGIN
from foundation.errors import ConfigError
from runners import run_record
from runners.report.facts import RunFacts
from runners.report.sections import METRICS, MODELS, shown_as

if TYPE_CHECKING:
    import numpy as np

    from components.contract.reports import Ends, Interval

RULE = "--compare must name two different runs or more, each by its id or name, as latest, or by the path of its folder"
LONGEST_NAME = 180
"""The longest name of a page that is made of ids; most file systems take 255 bytes."""
LOWER_IS_BETTER = ("perplexity", "cross_entropy", "bits_per_character", "bits_per_byte", "pseudo_perplexity")
BY_TEXT = ("bits_per_character", "bits_per_byte")
"""Metrics by which models with different tokenizers are compared; all others need equal questions."""


@dataclasses.dataclass(frozen=True)
class MetricRow:
    """A metric of every run.

    Attributes:
        label: What it is called.
        values: By run; None where a run doesn't have it.
        intervals: Both ends of the values' intervals; None for no interval.
        shown: How a value is written.
        best: The places of the runs with the best value; none where they can't be compared, or are all equal.
    """

    label: str
    values: tuple[float | None, ...]
    intervals: "tuple[Ends | None, ...]"
    shown: Callable[[object], str]
    best: frozenset[int]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs, the first of which the others are compared with: ratios are their values over the first's.

    Attributes:
        runs: Two or more.
    """

    runs: tuple[RunFacts, ...]

    @property
    def letters(self) -> tuple[str, ...]:
        """A short name for each run: A, B, C, …, Z, A2, B2 and so on."""
        return tuple(f"{chr(ord('A') + place % 26)}{place // 26 + 1 if place > 25 else ''}" for place, _ in self._all)

    @property
    def ids(self) -> tuple[str, ...]:
        """The runs' ids."""
        return tuple(each.run["id"] for each in self.runs)

    @property
    def names(self) -> tuple[str, ...]:
        """What the runs are called: the name with the id behind it, or the id alone."""
        return tuple(each.called for each in self.runs)

    @property
    def _all(self) -> list[tuple[int, RunFacts]]:
        return list(enumerate(self.runs))

    @property
    def same_corpus(self) -> bool:
        """Whether all are about one text."""
        return len({each.corpus.digest if each.corpus else None for each in self.runs if each.evaluation}) < 2

    @property
    def same_questions(self) -> bool:
        """Whether all were asked about the same masks over the same tokens."""
        how = [each.evaluation.report.how for each in self.runs if each.evaluation]
        return len({(each.masks_digest, each.tokenizer_digest) for each in how}) < 2

    def settings(self) -> list[tuple[str, ...]]:
        """The configuration's keys that differ, each with the values of all runs."""
        configs = [dict(flat(each.run["config"])) for each in self.runs]
        keys = list(dict.fromkeys(key for config in configs for key in config))
        return [
            (key, *(as_typed(config.get(key, "–")) for config in configs))
            for key in keys
            if any(config.get(key) != configs[0].get(key) for config in configs)
        ]

    @functools.cached_property
    def metrics(self) -> list[MetricRow]:
        """Every metric that a run has."""
        rows = []
        for metric, label in METRICS.items():
            for model, when in MODELS.items():
                key = f"{metric}_{model}"
                if model == "after" and metric in ("top1_accuracy", "top5_accuracy"):
                    key = metric
                values = tuple(each.metrics.get(key) for each in self.runs)
                if all(value is None for value in values):
                    continue
                intervals = tuple(each.intervals.get(key) for each in self.runs)
                comparable = self.same_corpus and (self.same_questions or metric in BY_TEXT)
                best = best_of(values, lowest=metric in LOWER_IS_BETTER) if comparable else frozenset()
                rows.append(MetricRow(f"{label}, {when}", values, intervals, shown_as(metric), best))
        return rows

    @functools.cached_property
    def verdicts(self) -> tuple[str, ...]:
        """For each run but the first, whether its model differs from the first's by more than chance, in a sentence."""
        letters = self.letters
        if len(self.runs) == 2:
            return (verdict(*self.runs, "the first", "the second"),)
        return tuple(verdict(self.runs[0], each, letters[0], letters[place]) for place, each in self._all if place)

    @property
    def comparability(self) -> str:
        """Which of the numbers may be held against each other, in a sentence."""
        if sum(each.evaluation is not None for each in self.runs) < 2:
            return "Fewer than two of the runs have an evaluation, so there is nothing to compare."
        if not self.same_corpus:
            return "The runs have different corpora: their numbers aren't about the same text, and no best is marked."
        if not self.same_questions:
            return (
                "The runs were asked about different masks or tokens (block size, masks or tokenizer differ): only "
                "bits per character and per byte can be compared."
            )
        return "All were asked about the same masks of the same tokens: the numbers can be compared."

    @property
    def page_name(self) -> str:
        """The name of its page, in the folder of the last run."""
        name = "_".join(self.ids[:-1])
        if len(name) > LONGEST_NAME:
            name = f"{len(self.ids) - 1}_runs_{hashlib.sha256(name.encode()).hexdigest()[:12]}"
        return f"compared_with_{name}.html"


def best_of(values: Sequence[float | None], *, lowest: bool) -> frozenset[int]:
    """The places of the best values; none where fewer than two are known, or all are equal."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2 or min(known) == max(known):
        return frozenset()
    wanted = min(known) if lowest else max(known)
    return frozenset(place for place, value in enumerate(values) if value == wanted)


def verdict(first: RunFacts, second: RunFacts, its_name: str, others_name: str) -> str:
    """Whether the second run's model differs from the first's by more than chance, in a sentence.

    Args:
        first: A run.
        second: The run that is compared with it.
        its_name: What the first is called in the sentence.
        others_name: What the second is.
    """
    subject = others_name[:1].upper() + others_name[1:]
    one, other = first.evaluation, second.evaluation
    if one is None or other is None:
        without = its_name if one is None else others_name
        return f"{without[:1].upper()}{without[1:]} has no evaluation, so it can't be compared with the other."
    if (first.corpus and first.corpus.digest) != (second.corpus and second.corpus.digest):
        return f"{subject} has another corpus than {its_name}, so their numbers aren't about the same text."
    same = one.report.how.masks_digest == other.report.how.masks_digest
    unit = "perplexity" if same else "bits per character"
    why = "" if same else " (their masks or tokenizers differ, so perplexities can't be compared)"
    estimate = paired_ratio(first, second, other.report.how, same)
    if estimate is None:
        return (
            f"{subject} has too few records in common with {its_name} for an interval of the difference in {unit}{why}."
        )
    from components.evaluation.gate import ratio_in_words

    ratio, interval = estimate
    found = f"{unit} of {others_name} is {ratio_in_words(ratio, interval, f'that of {its_name}')}{why}"
    least, most = 1 - SEED_MARGIN, 1 + SEED_MARGIN
    if interval.high < least:
        return f"{subject} is better: {found}."
    if interval.low > most:
        return f"{subject} is worse: {found}."
    if least <= interval.low and interval.high <= most:
        return f"There is no real difference: {found}."
    return f"Chance, or another seed, can explain the difference: {found}."


def open_runs(root: Path, names: Sequence[str]) -> Comparison:
    """The runs that a user names. One that is named twice, such as by its name and as `latest`, counts once.

    Raises:
        ConfigError: If they are fewer than two, or one of them isn't there.
        ArtifactError: If a record can't be read.
    """
    runs: dict[Path, RunFacts] = {}
    for name in names:
        facts = open_run(root, name)
        runs.setdefault(facts.directory.resolve(), facts)
    if len(runs) < 2:
        raise ConfigError(RULE, received=" ".join(names), remedy="see --list")
    return Comparison(tuple(runs.values()))


def open_run(root: Path, name: str) -> RunFacts:
    """A run by its id below a root, its name, `latest`, or the path of its folder.

    Raises:
        ConfigError: If there is none.
        ArtifactError: If its record can't be read.
    """
    found = run_names.find_run(root, name)
    if found is not None:
        facts = RunFacts(found)
        _ = facts.run  # a damaged record is refused here
        return facts
    known = [path.name for path in run_names.folders(root) if (path / run_record.NAME).is_file()]
    raise ConfigError(
        RULE,
        received=name,
        remedy=f"use two of {', '.join(known[-5:])}"
        if known
        else f"name another --root than {root}, which has no runs",
    )


def flat(config: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """A nested configuration as dotted keys."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def as_typed(value: object) -> str:
    """A setting's value as YAML and the command line have it: `null` and `true`, text without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def paired_ratio(
    first: RunFacts, second: RunFacts, how: Measurement, same_masks: bool
) -> "tuple[float, Interval] | None":
    """The second model's perplexity, or bits a character, over the first's, and the interval over their records.

    Args:
        first: A run with an evaluation.
        second: Another, on the same corpus.
        how: Says how to draw the records.
        same_masks: Whether both were asked the same questions.
    """
    import numpy as np

    from components.evaluation.statistics import percentile_interval, records_needed, resampled_sums

    columns = [sums_of(facts) for facts in (first, second)]
    records = max(len(part) for part in columns)
    matrix = np.zeros((records, 8))
    for place, part in enumerate(columns):
        matrix[: len(part), place * 4 : place * 4 + 4] = part
    matrix = matrix[(matrix[:, 0] > 0) & (matrix[:, 4] > 0)]
    if len(matrix) < records_needed(how.confidence):
        return None

    def ratio(sums: "np.ndarray") -> "np.ndarray":
        one, other = (sums[..., place + 1] / sums[..., place] for place in (0, 4))
        if same_masks:
            exponent: np.ndarray = np.exp(other - one)
            return exponent
        bits = other * sums[..., 6] / sums[..., 7] / (one * sums[..., 2] / sums[..., 3])
        return np.asarray(bits)

    drawn = resampled_sums(matrix, resamples=how.bootstrap_resamples, seed=how.seed)
    interval = percentile_interval(ratio(drawn), how.confidence)
    return float(ratio(matrix.sum(axis=0))), interval


def sums_of(facts: RunFacts) -> Any:
    """By row of the corpus' test split: masked tokens, their loss in nats, tokens, characters; (rows, 4) float64."""
    import numpy as np

    if facts.evaluation is None or facts.blocks is None:
        return np.zeros((0, 4))
    for artifact, name in ((facts.evaluation, "scores.npz"), (facts.blocks, "records/test.arrow")):
        manifest.verify_file(artifact.directory, artifact.manifest, name)
    with np.load(facts.evaluation.directory / "scores.npz", allow_pickle=False) as scores:
        record, loss = scores["record"], -scores["log_probability_after"].astype(np.float64)
    records = facts.blocks.records("test")
    special = facts.blocks.report.special_tokens_per_record
    sums = np.zeros((int(records["row"].max()) + 1, 4))
    sums[:, 0] = np.bincount(record, minlength=len(sums))
    sums[:, 1] = np.bincount(record, loss, minlength=len(sums))
    sums[records["row"], 2] = records["tokens"] - special
    sums[records["row"], 3] = records["characters"]
    return sums
