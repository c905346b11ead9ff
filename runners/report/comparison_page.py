"""A comparison of runs as a page."""

import math
import os
from pathlib import Path

from runners.report.charts import Line, line_chart
from runners.report.comparison import Comparison, MetricRow
from runners.report.html import Markup, duration, join, link, perplexity, section, table, tag, text, with_interval
from runners.report.page import write_page
from runners.report.sections import Curve, answers, exponential, sentence

MOST_LINES = 3
"""Curves that a chart has colors for."""


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Writes the comparison as a page, complete or not at all."""
    runs, letters = comparison.runs, comparison.letters
    settings = comparison.settings()
    samples = [{each.text: each.after for each in facts.samples} for facts in runs]
    texts = list(dict.fromkeys(each for found in samples for each in found))
    sentences = [[sentence(each), *(answers(found.get(each, ())) for found in samples)] for each in texts]
    times = [
        {step["name"]: f"{duration(step['seconds'])} ({step['status']})" for step in facts.steps} for facts in runs
    ]
    steps = list(dict.fromkeys(name for each in times for name in each))
    note = "★ marks the best of a row." if any(row.best for row in comparison.metrics) else ""
    partial = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        write_page(
            partial,
            " and ".join(facts.run["name"] or facts.run["id"] for facts in runs),
            tag("h1", f"{_counted(len(runs))} runs side by side"),
            tag("div", join(tag("p", each) for each in comparison.verdicts), class_="verdict"),
            tag("p", comparison.comparability, class_="soft"),
            _runs(comparison, path),
            section(
                "Metrics",
                tag("p", note, class_="soft") if note else "",
                table(["metric", *_with_changes(letters)], [_metric(row) for row in comparison.metrics]),
            )
            if comparison.metrics
            else "",
            section("Training", *_charts(comparison)),
            section(
                "Settings that differ",
                table(["setting", *letters], settings, whole=1)
                if settings
                else tag("p", "None: all ran the same configuration."),
            ),
            section("Samples after training", table(["sentence", *letters], sentences, whole=1)) if sentences else "",
            section(
                "Steps",
                table(
                    ["step", *letters], [[name, *(each.get(name, "–") for each in times)] for name in steps], whole=1
                ),
            ),
        )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def change(first: float | None, second: float | None) -> Markup | str:
    """The second over the first, as a percentage."""
    if first is None or second is None or not first or not math.isfinite(second / first):
        return "–"
    return f"{second / first - 1:+.1%}".replace("-", "−")


def _counted(number: int) -> str:
    return "Two" if number == 2 else f"{number:,}"


def _runs(comparison: Comparison, page: Path) -> Markup:
    """Which run each letter stands for, with links to the reports."""
    # A run without a name is called by its id, which needn't stand there twice.
    named = any(facts.run["name"] for facts in comparison.runs)
    rows = [
        [
            letter,
            link(facts.directory / "report.html", page, facts.run["name"] or facts.run["id"]),
            *([facts.run["id"]] if named else []),
            facts.run["status"],
            facts.run["configuration"] or "–",
        ]
        for letter, facts in zip(comparison.letters, comparison.runs, strict=True)
    ]
    return table(["letter", "run", *(["id"] if named else []), "status", "configuration"], rows, whole=2)


def _with_changes(letters: tuple[str, ...]) -> list[str]:
    """The heads of the metrics' columns: for two runs there is room for the change, too."""
    return [*letters, "change"] if len(letters) == 2 else list(letters)


def _metric(row: MetricRow) -> list[Markup | str]:
    cells: list[Markup | str] = [row.label]
    for place, (value, ends) in enumerate(zip(row.values, row.intervals, strict=True)):
        cell = with_interval(value, ends, row.shown)
        # The star stands behind the number, so that the column is still one of numbers.
        shown = text(row.shown(value))
        cells.append(Markup(cell.replace(shown, f"{shown}&nbsp;★", 1)) if place in row.best else cell)
    if len(row.values) == 2:
        cells.append(change(*row.values))
    return cells


def _charts(comparison: Comparison) -> list[Markup]:
    """The curves of validation, as many as there are colors for."""
    names = [facts.run["name"] or letter for letter, facts in zip(comparison.letters, comparison.runs, strict=True)]
    labels = [
        name if name == letter else f"{letter}, {name}" for letter, name in zip(comparison.letters, names, strict=True)
    ]
    history: list[Curve] = [[(row.epoch, row.val_loss) for row in facts.history] for facts in comparison.runs]
    known = [(label, line) for label, line in zip(labels, history, strict=True) if line]
    charts = []
    for start in range(0, len(known), MOST_LINES):
        shown = known[start : start + MOST_LINES]
        charts.append(line_chart("Validation loss (nats)", [Line(name, line) for name, line in shown]))
        charts.append(
            line_chart(
                "Validation perplexity (logarithmic)",
                [Line(name, exponential(line)) for name, line in shown],
                logarithmic=True,
                shown=perplexity,
            )
        )
    charts = [chart for chart in charts if chart]
    return [tag("div", join(charts), class_="charts")] if charts else []
