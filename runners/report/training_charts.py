"""The section of a run's report about its training: curves by epoch and by step."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from components.contract.reports import StepRow
from runners.report.charts import Level, Line, line_chart
from runners.report.facts import RunFacts
from runners.report.html import Markup, join, perplexity, section, tag
from runners.report.sections import MODELS, Curve, exponential

MOST_POINTS = 300
"""The most points of a curve by step that are drawn; the others are left out evenly."""


def curves(facts: RunFacts) -> Markup:
    """Loss, perplexity and throughput by epoch, and loss, learning rate and more by step."""
    history, metrics = facts.history, facts.metrics

    def levels(metric: str) -> list[Level]:
        return [
            Level(f"{label}, test", float(metrics[f"{metric}_{name}"]), style)
            for style, (name, label) in enumerate(MODELS.items())
            if f"{metric}_{name}" in metrics
        ]

    train: Curve = [(row.epoch, row.loss) for row in history]
    validation: Curve = [(row.epoch, row.val_loss) for row in history]
    charts = [
        line_chart(
            "Loss (nats a masked token)",
            [Line("train", train), Line("validation", validation)],
            levels("cross_entropy"),
        ),
        line_chart(
            "Perplexity (logarithmic)",
            [Line("train", exponential(train)), Line("validation", exponential(validation))],
            levels("perplexity"),
            logarithmic=True,
            shown=perplexity,
        ),
        *step_charts(facts),
    ]
    if not facts.step_history:  # else it is drawn by step
        charts.append(
            line_chart(
                "Learning rate at the epoch's end",
                [Line("learning rate", [(row.epoch, row.learning_rate) for row in history])],
                from_zero=True,
            )
        )
    charts.append(
        line_chart(
            "Throughput (tokens a second)",
            [Line("tokens/s", [(row.epoch, row.tokens_per_second) for row in history])],
            from_zero=True,
        )
    )
    charts = [chart for chart in charts if chart]
    if not charts:
        return Markup("")
    note = "The dashed lines are what the evaluation measured on the test split." + masking_rates(facts.run["config"])
    note += " Point at a chart, or touch it, to see its values there."
    return section("Training", tag("p", note, class_="soft"), tag("div", join(charts), class_="charts"))


def masking_rates(config: dict[str, Any]) -> str:
    """A sentence about how much is masked where, if that differs; empty if not."""
    train = config.get("train", {})
    first, evaluation = train.get("mlm_probability"), train.get("eval_mlm_probability")
    later = [rate for _, rate in train.get("mlm_probability_schedule") or []]
    if train.get("mlm_probability_end"):
        later = [train["mlm_probability_end"]]
    if None in (first, evaluation) or {first, *later} == {evaluation}:
        return ""
    rates = " to ".join(share for share, _ in itertools.groupby(f"{rate:.0%}" for rate in (first, *later)))
    return (
        f" Training masks {rates} of the tokens, the validation and the evaluation {evaluation:.0%}: more "
        "masks are harder, so only lines of one rate compare."
    )


def step_charts(facts: RunFacts) -> list[Markup]:
    """Loss, gradient norm, learning rate and utilization by optimizer step.

    A point averages `train.logging_steps` steps, or more where a chart would have too many. The utilization is that
    of `train.peak_tflops`, or of the peak that training measured; steps that were faster than it have none.
    """
    if facts.checkpoint is None:
        return []
    settings = facts.run["config"].get("train", {})
    rows = averaged(facts.step_history, settings.get("logging_steps") or 1)
    peak = settings.get("peak_tflops") or facts.checkpoint.report.measured_peak_tflops
    curves: dict[str, tuple[str, list[float | None]]] = {
        "loss": ("Training loss by step (nats a masked token)", [row.loss for row in rows]),
        "gradient norm": ("Gradient norm by step", [row.gradient_norm for row in rows]),
        "learning rate": ("Learning rate by step", [row.learning_rate for row in rows]),
        "model flops utilization": (
            "Model FLOPs utilization by step (1 is the device's peak)",
            [None if (rate := row.tflops_per_second) is None or rate > peak else rate / peak for row in rows],
        ),
    }
    steps = [row.step for row in rows]
    return [
        line_chart(
            title,
            [Line(name, list(zip(steps, values, strict=True)))],
            x_label="step",
            logarithmic=None if name in ("loss", "gradient norm") else False,
            from_zero=name not in ("loss", "gradient norm"),
        )
        for name, (title, values) in curves.items()
    ]


def averaged(history: Sequence[StepRow], steps_a_point: int) -> list[StepRow]:
    """The rows of a history by step, those of so many steps as one: their means, and the last one's step and rate.

    Args:
        history: Rows, each of equally many steps.
        steps_a_point: Steps that a point averages at least.
    """
    if not history:
        return []
    rows_a_point = max(steps_a_point // history[0].step, -(-len(history) // MOST_POINTS), 1)
    points = []
    for begin in range(0, len(history), rows_a_point):
        group = history[begin : begin + rows_a_point]
        points.append(
            dataclasses.replace(
                group[-1],
                loss=sum(row.loss for row in group) / len(group),
                gradient_norm=mean([row.gradient_norm for row in group]),
                tflops_per_second=mean([row.tflops_per_second for row in group]),
            )
        )
    return points


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of those values that there are."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
