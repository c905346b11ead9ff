"""The sections of a run's report, top to bottom: outcome, curves, metrics, gate, slices, samples, data."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from components.contract.mask_placeholder import MASK
from components.contract.reports import Answer, Candidate, StepRow
from runners.report.charts import Level, Line, line_chart
from runners.report.facts import RunFacts
from runners.report.html import (
    Markup,
    join,
    moments,
    number,
    percentage,
    perplexity,
    section,
    table,
    tag,
    text,
    with_interval,
)

MODELS = {
    "before": "before training",
    "after": "after training",
    "baseline": "baseline",
    "unigram": "unigram baseline",
}
METRICS = {
    "perplexity": "perplexity",
    "cross_entropy": "cross-entropy (nats a token)",
    "top1_accuracy": "top-1 accuracy",
    "top5_accuracy": "top-5 accuracy",
    "bits_per_character": "bits per character",
    "bits_per_byte": "bits per byte",
    "pseudo_perplexity": "pseudo-perplexity",
    "pseudo_log_likelihood": "pseudo-log-likelihood a block",
}
MOST_POINTS = 300
"""The most points of a curve by step that are drawn; the others are left out evenly."""
Curve = list[tuple[float, float | None]]
"""Points of a line: where they are from left to right, and their values, if any."""
PASSED, FAILED = "passed", "failed"


def heading(facts: RunFacts) -> Markup:
    """The run, how it ended, and the verdict."""
    run, blessing = facts.run, facts.evaluation.blessing if facts.evaluation else None
    badge = tag("span", run["status"], class_=f"badge {'good' if run['status'] == 'succeeded' else 'bad'}")
    model = facts.checkpoint.report if facts.checkpoint else None
    what = f"{model.model_type} of {model.parameters:,} parameters, " if model else ""
    corpus = facts.corpus.summary if facts.corpus else ""
    parts = [
        tag("h1", join(["Run ", run["id"], " ", badge])),
        tag("p", f"{what}{corpus}. {moments(run['started'], run['finished'])}.", class_="soft"),
    ]
    if run["error"]:
        error = run["error"][:1].upper() + run["error"][1:]
        beginning = tag("b", "Failed. ") if run["status"] == "failed" else ""
        parts.append(tag("div", tag("p", join([beginning, error])), class_="verdict bad"))
    elif blessing:
        verdict = tag("p", f"{blessing.sentence[:1].upper()}{blessing.sentence[1:]}.")
        parts.append(tag("div", verdict, class_=f"verdict {'good' if blessing.blessed else 'bad'}"))
    standing = blessing.beside_counting if blessing else None
    if blessing and standing and standing not in f"{run['error']} {blessing.sentence}":  # the check may be turned off
        warning = tag("p", f"The model is {standing}.")
        parts.append(tag("div", warning, class_="verdict bad"))
    return join(parts)


def tiles(facts: RunFacts) -> Markup:
    """The few numbers that matter most."""
    metrics = facts.metrics
    new = facts.checkpoint is not None and facts.checkpoint.report.has_new_head
    random_head = ", with a random head" if new else ""
    shown = [
        ("perplexity_before", f"perplexity before training{random_head}"),
        ("perplexity_after", "perplexity after training"),
        ("perplexity_unigram", "perplexity of guessing by frequency"),
        ("bits_per_character_after", "bits per character"),
        ("top1_accuracy", "right first guesses"),
        ("top5_accuracy", "right within five guesses"),
    ]
    items = []
    for key, label in shown:
        if key in metrics:
            value = shown_as(key)(float(metrics[key]))
            items.append(tag("li", join([tag("b", value), tag("span", label)])))
    return tag("ul", join(items), class_="tiles") if items else Markup("")


def shown_as(metric: str) -> Callable[[object], str]:
    """How a metric is written."""
    if metric.startswith("top"):
        return percentage
    return perplexity if "perplexity" in metric else number


def curves(facts: RunFacts) -> Markup:
    """Loss, perplexity, learning rate and throughput by epoch, beside what they are to be compared with."""
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
        line_chart(
            "Learning rate at the epoch's end",
            [Line("learning rate", [(row.epoch, row.learning_rate) for row in history])],
        ),
        line_chart(
            "Throughput (tokens a second)",
            [Line("tokens/s", [(row.epoch, row.tokens_per_second) for row in history])],
            from_zero=True,
        ),
    ]
    charts = [chart for chart in (*charts, *step_charts(facts)) if chart]
    if not charts:
        return Markup("")
    note = "The dashed lines are what the evaluation measured on the test split." + masking_rates(facts.run["config"])
    return section("Training", tag("p", note, class_="soft"), tag("div", join(charts), class_="charts"))


def masking_rates(config: dict[str, Any]) -> str:
    """A sentence about how much is masked where, if that differs; empty if not."""
    train = config.get("train", {})
    first, evaluation = train.get("mlm_probability"), train.get("eval_mlm_probability")
    last = train.get("mlm_probability_end") or first
    if None in (first, evaluation) or len({first, last, evaluation}) == 1:
        return ""
    falling = "" if last == first else f" to {last:.0%}"
    return (
        f" Training masks {first:.0%}{falling} of the tokens, the validation and the evaluation {evaluation:.0%}: more "
        "masks are harder, so only lines of one rate compare."
    )


def step_charts(facts: RunFacts) -> list[Markup]:
    """Loss, gradient norm, learning rate and utilisation by optimizer step.

    A point averages `train.logging_steps` steps, or more where a chart would have too many. The utilisation is that
    of `train.peak_tflops`, or of the peak that training measured.
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
            "Model FLOPs utilisation by step (1 is the device's peak)",
            [None if row.tflops_per_second is None else row.tflops_per_second / peak for row in rows],
        ),
    }
    steps = [row.step for row in rows]
    return [
        line_chart(title, [Line(name, list(zip(steps, values, strict=True)))], x_label="step")
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


def exponential(points: Curve) -> Curve:
    """Perplexities of losses."""
    return [(x, None if y is None or y > 700 else math.exp(y)) for x, y in points]


def metrics(facts: RunFacts) -> Markup:
    """Every metric of every model, with intervals."""
    evaluation = facts.evaluation
    if evaluation is None:
        return Markup("")
    values, intervals, how = facts.metrics, facts.intervals, evaluation.report.how
    models = [name for name in MODELS if any(f"{metric}_{name}" in values for metric in METRICS)]
    rows: list[list[Any]] = []
    for metric, label in METRICS.items():
        names = [f"{metric}_{model}" for model in models]
        names = [metric if name == f"{metric}_after" and name not in values else name for name in names]
        if any(name in values for name in names):
            shown = shown_as(metric)
            rows.append([label, *(with_interval(values.get(name), intervals.get(name), shown) for name in names)])
    measured = (
        f"{values['masked_tokens']:,} masked tokens in {values['blocks']:,} test blocks, from "
        f"{values['records']:,} records; {how.eval_mlm_probability:.0%} masked, the same masks for every "
        f"model, whatever the rate in training was. Below each number is its {how.confidence:.4g} "
        f"confidence interval, by {how.bootstrap_resamples:,} bootstrap resamples of the records."
    )
    baseline = evaluation.blessing.baseline
    notes = [tag("p", measured, class_="soft")]
    if baseline:
        compared = f"“Baseline” is {baseline.name}, compared by {baseline.compared_by}."
        if baseline.compared_by != "perplexity":
            compared += " It has another tokenizer, so its perplexity would mean something else and isn't shown."
        notes.append(tag("p", compared, class_="soft"))
    return section("Metrics", *notes, table(["metric", *(MODELS[name] for name in models)], rows))


def gate(facts: RunFacts) -> Markup:
    """The checks that decided whether the model is blessed."""
    if facts.evaluation is None:
        return Markup("")
    blessing = facts.evaluation.blessing
    rows = []
    for check in blessing.checks:
        result = tag("span", PASSED if check.passed else FAILED, class_="good" if check.passed else "bad")
        rows.append([check.name.replace("_", " "), result, check.sentence])
    none = "" if rows else tag("p", "No threshold is set: every model is blessed.")
    rule = (
        "A check passes only if the whole interval is on the right side of its limit, so that a difference which "
        "chance can explain doesn't bless."
    )
    first = "" if blessing.baseline else tag("p", "There was no other model to be compared with.")
    again = facts.pushed.report.compared_again if facts.pushed else None
    note = f"Push compared it again, as other models had been pushed or removed since the evaluation: {again}."
    checks = table(["check", "", "found"], rows) if rows else ""
    return section("Gate", tag("p", rule, class_="soft"), first, none, checks, tag("p", note) if again else "")


def slices(facts: RunFacts) -> Markup:
    """Perplexity on parts of the test split."""
    entries = facts.evaluation.report.slices if facts.evaluation else ()
    parts: list[Markup] = []
    for group, members in itertools.groupby(entries, key=lambda entry: entry.group):
        rows = []
        for entry in members:
            note = "" if entry.note is None else tag("small", entry.note, class_="interval")
            rows.append(
                [
                    join([entry.name, note]),
                    number(entry.masked_tokens),
                    number(entry.records),
                    perplexity(entry.perplexity_before),
                    with_interval(entry.perplexity_after, entry.interval_after, perplexity),
                ]
            )
        header = [group, "masked tokens", "records", "perplexity before", "perplexity after"]
        parts.append(table(header, rows))
    return section("Slices", *parts)


def samples(facts: RunFacts) -> Markup:
    """What the model answers to sentences, before training and after, and to the one that it was exported with."""
    rows = []
    for sample in facts.samples:
        rows.append([sentence(sample.text), answers(sample.before), answers(sample.after)])
    if facts.model is not None:
        example = facts.model.report.example
        shown = example.text.replace(facts.model.report.mask_token, MASK)
        if shown not in [sample.text for sample in facts.samples]:
            rows.append([sentence(shown), text("–"), answers(example.answer)])
    return section("Samples", table(["sentence", "before training", "after training"], rows)) if rows else Markup("")


def sentence(text: str) -> Markup:
    """A sample sentence, in the direction of its script, with a line where its mask is."""
    return tag("bdi", join(text.split(MASK), tag("mark", "____")), dir="auto")


def answers(candidates: Sequence[Answer | Candidate]) -> Markup:
    """A model's first guesses."""
    shown = [(tag("bdi", each.token_str.strip() or repr(each.token_str)), each.score) for each in candidates]
    items = [tag("li", join([word, f" ({score:.1%})"])) for word, score in shown]
    return tag("ol", join(items), class_="answers") if items else text("–")


def data(facts: RunFacts) -> Markup:
    """What the model was trained and measured on."""
    if facts.corpus is None:
        return Markup("")
    corpus, blocks = facts.corpus.report, facts.blocks.report if facts.blocks else None
    looked_at = " looked at" if corpus.streamed else ""
    rows: list[list[Any]] = [[f"records{looked_at}", *map(number, corpus.records)]]
    rows.append(["exact duplicates of an earlier record", *map(number, corpus.duplicate_records)])
    for name, column in corpus.columns.items():
        rows.append([f"words in {name}", *(number(split.words) for split in column)])
    if blocks:
        if corpus.streamed:
            rows.append(["records streamed", *(number(split.records) for split in blocks.splits)])
        rows.append(["tokens", *(number(split.tokens) for split in blocks.splits)])
        rows.append([f"blocks of {blocks.block_size} tokens", *(number(split.blocks) for split in blocks.splits)])
        rows.append(["tokens dropped at the end", *(number(split.tokens_dropped) for split in blocks.splits)])
        if blocks.packing != "concatenate":
            padding = (number(split.padding) for split in blocks.splits)
            rows.append([f"positions of padding (packing: {blocks.packing})", *padding])
        rows.append(["records without text", *(number(split.skipped.total) for split in blocks.splits)])
    notes = list(corpus.anomalies)
    if facts.evaluation:
        count, total = facts.metrics["contaminated_blocks"], facts.metrics["blocks"]
        notes.append(
            f"{count:,} of {total:,} test blocks ({count / total:.1%}) share a run of "
            f"{facts.evaluation.report.how.contamination_ngram} tokens with the train split"
        )
    notes += [f"{each.count:,} {each.what} skipped: {each.reason}" for each in corpus.skipped]
    return section(
        "Data", table(["", "train", "test"], rows), tag("ul", join(tag("li", note) for note in notes)) if notes else ""
    )
