"""Two runs side by side: what was set differently, what came out, and whether the difference is more than chance."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract import manifest
from components.contract.reports import Measurement
from components.evaluation.params import SEED_MARGIN
from foundation.errors import ConfigError
from runners import run_record
from runners.report.charts import Line, line_chart
from runners.report.facts import RunFacts
from runners.report.html import Markup, duration, join, link, perplexity, section, table, tag, with_interval
from runners.report.page import write_page
from runners.report.sections import METRICS, MODELS, Curve, answers, exponential, sentence, shown_as

if TYPE_CHECKING:
    import numpy as np

    from components.contract.reports import Interval


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two runs.

    Attributes:
        first: The run that is compared with.
        second: The run that is compared with the first: ratios are its values over the first's.
    """

    first: RunFacts
    second: RunFacts

    @property
    def names(self) -> tuple[str, str]:
        """The runs' ids."""
        return self.first.run["id"], self.second.run["id"]

    def settings(self) -> list[tuple[str, str, str]]:
        """The configuration's keys that differ, with both values."""
        one, other = dict(flat(self.first.run["config"])), dict(flat(self.second.run["config"]))
        keys = [*one, *(key for key in other if key not in one)]
        return [
            (key, str(one.get(key, "–")), str(other.get(key, "–"))) for key in keys if one.get(key) != other.get(key)
        ]

    def metrics(self) -> list[tuple[str, Any, Any, Any, Any, Callable[[object], str]]]:
        """Name, both values, both intervals and how to write them, of every metric that either run has."""
        rows = []
        runs = (self.first, self.second)
        for metric, label in METRICS.items():
            for model, moment in MODELS.items():
                key = f"{metric}_{model}"
                if model == "after" and metric in ("top1_accuracy", "top5_accuracy"):
                    key = metric
                one, other = (each.metrics.get(key) for each in runs)
                if one is not None or other is not None:
                    its, others = (each.intervals.get(key) for each in runs)
                    rows.append((f"{label}, {moment}", one, other, its, others, shown_as(metric)))
        return rows

    def verdict(self) -> str:
        """Whether the second run's model differs from the first's by more than chance, in a sentence."""
        one, other = self.first.evaluation, self.second.evaluation
        if one is None or other is None:
            return "One of the runs has no evaluation, so their models can't be compared."
        if (self.first.corpus and self.first.corpus.digest) != (self.second.corpus and self.second.corpus.digest):
            return "The runs have different corpora, so their numbers aren't about the same text."
        same = one.report.how.masks_digest == other.report.how.masks_digest
        unit = "perplexity" if same else "bits per character"
        why = "" if same else " (their masks or tokenizers differ, so perplexities can't be compared)"
        estimate = paired_ratio(self.first, self.second, other.report.how, same)
        if estimate is None:
            return f"There are too few records in common for an interval of the difference in {unit}{why}."
        from components.evaluation.gate import ratio_in_words

        ratio, interval = estimate
        found = f"{unit} of the second is {ratio_in_words(ratio, interval, 'that of the first')}{why}"
        least, most = 1 - SEED_MARGIN, 1 + SEED_MARGIN
        if interval.high < least:
            return f"The second is better: {found}."
        if interval.low > most:
            return f"The second is worse: {found}."
        if least <= interval.low and interval.high <= most:
            return f"There is no difference worth the name: {found}."
        return f"Chance, or another seed, can explain the difference: {found}."


def open_run(root: Path, name: str) -> RunFacts:
    """A run by its id below a root, `latest`, or the path of its folder.

    Raises:
        ConfigError: If there is none.
        ArtifactError: If its record can't be read.
    """
    for directory in (root / run_record.RUNS / name, Path(name)):
        if name and os.path.isfile(directory / run_record.NAME):
            facts = RunFacts(directory.resolve())
            _ = facts.run  # a damaged record is refused here
            return facts
    known = [path.name for path in run_record.folders(root) if (path / run_record.NAME).is_file()]
    raise ConfigError(
        "--compare must name two runs, each by its id, as latest, or by the path of its folder",
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


def as_text(comparison: Comparison) -> str:
    """The comparison for a terminal."""
    one, other = comparison.names
    lines = [comparison.verdict(), ""]
    rows = [(name, shown(first), shown(second)) for name, first, second, _, _, shown in comparison.metrics()]
    rows += [(key, first, second) for key, first, second in comparison.settings()]
    width = max((len(row[0]) for row in rows), default=0)
    left = max((len(row[1]) for row in [*rows, ("", one, "")]), default=0)
    right = max((len(row[2]) for row in [*rows, ("", "", other)]), default=0)
    lines.append(f"{'':<{width}}  {one:>{left}}  {other:>{right}}")
    lines += [f"{name:<{width}}  {first:>{left}}  {second:>{right}}" for name, first, second in rows]
    return "\n".join(lines)


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Writes the comparison as a page."""
    one, other = comparison.names
    runs = (comparison.first, comparison.second)
    metrics = [
        [name, with_interval(first, low, shown), with_interval(second, high, shown), change(first, second)]
        for name, first, second, low, high, shown in comparison.metrics()
    ]
    history: list[Curve] = [[(row.epoch, row.val_loss) for row in facts.history] for facts in runs]
    charts = [
        line_chart(
            "Validation loss (nats)", [Line(name, line) for name, line in zip((one, other), history, strict=True)]
        ),
        line_chart(
            "Validation perplexity (logarithmic)",
            [Line(name, exponential(line)) for name, line in zip((one, other), history, strict=True)],
            logarithmic=True,
            shown=perplexity,
        ),
    ]
    samples = [{each.text: each.after for each in facts.samples} for facts in runs]
    sentences = [
        [sentence(text), answers(candidates), answers(samples[1].get(text, ()))]
        for text, candidates in samples[0].items()
    ]
    settings = comparison.settings()
    times = [
        {step["name"]: f"{duration(step['seconds'])} ({step['status']})" for step in facts.steps} for facts in runs
    ]
    reports = join((link(facts.directory / "report.html", path, facts.run["id"]) for facts in runs), " and ")
    write_page(
        path,
        f"{one} and {other}",
        tag("h1", "Two runs side by side"),
        tag("p", join(["The runs: ", reports, "."]), class_="soft"),
        tag("div", tag("p", comparison.verdict()), class_="verdict"),
        section("Metrics", table(["metric", one, other, "change"], metrics)),
        section("Training", tag("div", join(charts), class_="charts")),
        section(
            "Settings that differ",
            table(["setting", one, other], settings)
            if settings
            else tag("p", "None: both ran the same configuration."),
        ),
        section("Samples after training", table(["sentence", one, other], sentences)) if sentences else "",
        section(
            "Steps",
            table(
                ["step", one, other], [[name, times[0].get(name, "–"), times[1].get(name, "–")] for name in times[0]]
            ),
        ),
    )


def change(first: float | None, second: float | None) -> Markup | str:
    """The second over the first, as a percentage."""
    if first is None or second is None or not first or not math.isfinite(second / first):
        return "–"
    return f"{second / first - 1:+.1%}".replace("-", "−")
