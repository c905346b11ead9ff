"""The sections of a run's report, top to bottom: outcome, curves, metrics, gate, slices, samples, data."""

import itertools
import math
from collections.abc import Callable
from typing import Any

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
"""Of a curve by step; others are left out evenly."""
PASSED, FAILED = "passed", "failed"


def heading(facts: RunFacts) -> Markup:
    """The run, how it ended, and the verdict."""
    run, blessing = facts.run, facts.blessing
    badge = tag("span", run["status"], class_=f"badge {'good' if run['status'] == 'succeeded' else 'bad'}")
    model = facts.read("train", "report.json")
    what = f"{model['model_type']} of {model['parameters']:,} parameters, " if model else ""
    corpus = facts.read("ingest", "report.json").get("summary", "")
    parts = [
        tag("h1", join(["Run ", run["id"], " ", badge])),
        tag("p", f"{what}{corpus}. {moments(run['started'], run['finished'])}.", class_="soft"),
    ]
    if run["error"]:
        error = run["error"][:1].upper() + run["error"][1:]
        parts.append(tag("div", tag("p", join([tag("b", "Failed. "), error])), class_="verdict bad"))
    elif blessing:
        sentence = blessing["sentence"]
        told = tag("p", f"{sentence[:1].upper()}{sentence[1:]}.")
        parts.append(tag("div", told, class_=f"verdict {'good' if blessing['blessed'] else 'bad'}"))
    standing = blessing.get("beside_counting")
    if standing and standing not in f"{run['error']} {blessing['sentence']}":  # the check may be turned off
        told = tag("p", f"The model is {standing}.")
        parts.append(tag("div", told, class_="verdict bad"))
    return join(parts)


def tiles(facts: RunFacts) -> Markup:
    """The few numbers that matter most."""
    metrics = facts.evaluation.get("metrics", {})
    shown = [
        ("perplexity_before", "perplexity before training"),
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
    history, metrics = facts.history, facts.evaluation.get("metrics", {})
    epochs = [row["epoch"] for row in history]

    def column(name: str) -> list[float | None]:
        return [row.get(name) for row in history]

    def over(values: list[float | None]) -> list[tuple[float, float | None]]:
        return list(zip(epochs, values, strict=True))

    def levels(metric: str) -> list[Level]:
        return [
            Level(f"{told}, test", float(metrics[f"{metric}_{name}"]), style)
            for style, (name, told) in enumerate(MODELS.items())
            if f"{metric}_{name}" in metrics
        ]

    validation = over(column("val_loss"))
    charts = [
        line_chart(
            "Loss (nats a masked token)",
            [Line("train", over(column("loss"))), Line("validation", validation)],
            levels("cross_entropy"),
        ),
        line_chart(
            "Perplexity (logarithmic)",
            [Line("train", exponential(over(column("loss")))), Line("validation", exponential(validation))],
            levels("perplexity"),
            logarithmic=True,
            shown=perplexity,
        ),
        line_chart("Learning rate at the epoch's end", [Line("learning rate", over(column("learning_rate")))]),
        line_chart(
            "Throughput (tokens a second)", [Line("tokens/s", over(column("tokens_per_second")))], from_zero=True
        ),
    ]
    charts = [chart for chart in (*charts, *step_charts(facts)) if chart]
    if not charts:
        return Markup("")
    note = "The dashed lines are what the evaluation measured on the test split." + masking_rates(facts.run["config"])
    return section("Training", tag("p", note, class_="soft"), tag("div", join(charts), class_="charts"))


def masking_rates(config: dict[str, Any]) -> str:
    """A sentence about how much is masked where, if that differs; empty if not."""
    train, evaluate = config.get("train", {}), config.get("evaluate", {})
    first = train.get("mlm_probability")
    last, validation = train.get("mlm_probability_end") or first, train.get("eval_mlm_probability")
    evaluation = evaluate.get("eval_mlm_probability")
    if None in (first, validation, evaluation) or len({first, last, validation, evaluation}) == 1:
        return ""
    falling = "" if last == first else f" to {last:.0%}"
    return (
        f" Training masks {first:.0%}{falling} of the tokens, the validation {validation:.0%}, the evaluation "
        f"{evaluation:.0%}: more masks are harder, so only lines of one rate compare."
    )


def step_charts(facts: RunFacts) -> list[Markup]:
    """Loss, gradient norm, learning rate and utilisation by optimizer step.

    A point averages `train.logging_steps` steps, or more where a chart would have too many. The utilisation is that
    of `train.peak_tflops`, or of the peak that training measured.
    """
    train = facts.run["config"].get("train", {})
    rows = averaged(facts.step_history, train.get("logging_steps") or 1)
    peak = train.get("peak_tflops") or facts.read("train", "report.json").get("measured_peak_tflops")
    for row in rows:
        tflops = row.get("tflops_per_second")
        row["model_flops_utilization"] = tflops / peak if tflops is not None and peak else None
    titles = {
        "loss": "Training loss by step (nats a masked token)",
        "gradient_norm": "Gradient norm by step",
        "learning_rate": "Learning rate by step",
        "model_flops_utilization": "Model FLOPs utilisation by step (1 is the device's peak)",
    }
    return [
        line_chart(title, [Line(name.replace("_", " "), [(row["step"], row[name]) for row in rows])], x_label="step")
        for name, title in titles.items()
    ]


def averaged(history: list[dict[str, Any]], steps_a_point: int) -> list[dict[str, Any]]:
    """The rows of a history by step, those of so many steps as one: their means, and the last one's step and rate.

    Args:
        history: Rows, each of equally many steps.
        steps_a_point: Steps that a point averages at least.
    """
    if not history:
        return []
    rows_a_point = max(steps_a_point // history[0]["step"], -(-len(history) // MOST_POINTS), 1)
    points = []
    for begin in range(0, len(history), rows_a_point):
        group = history[begin : begin + rows_a_point]
        point = dict(group[-1])
        for name in ("loss", "gradient_norm", "tflops_per_second"):
            values = [row[name] for row in group if row.get(name) is not None]
            point[name] = sum(values) / len(values) if values else None
        points.append(point)
    return points


def exponential(points: list[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Perplexities of losses."""
    return [(x, None if y is None or y > 700 else math.exp(y)) for x, y in points]


def metrics(facts: RunFacts) -> Markup:
    """Every metric of every model, with intervals."""
    evaluation = facts.evaluation
    if not evaluation:
        return Markup("")
    values, intervals, how = evaluation["metrics"], evaluation.get("intervals", {}), evaluation["how"]
    models = [name for name in MODELS if any(f"{metric}_{name}" in values for metric in METRICS)]
    rows: list[list[Any]] = []
    for metric, told in METRICS.items():
        names = [f"{metric}_{model}" for model in models]
        names = [metric if name == f"{metric}_after" and name not in values else name for name in names]
        if any(name in values for name in names):
            shown = shown_as(metric)
            rows.append([told, *(with_interval(values.get(name), intervals.get(name), shown) for name in names)])
    measured = (
        f"{values['masked_tokens']:,} masked tokens in {values['blocks']:,} test blocks, from "
        f"{values.get('records', 0):,} records; {how['eval_mlm_probability']:.0%} masked, the same masks for every "
        f"model, whatever the rate in training was. Below each number is its {how.get('confidence', 0):.4g} "
        f"confidence interval, by {how.get('bootstrap_resamples', 0):,} bootstrap resamples of the records."
    )
    baseline = facts.blessing.get("baseline")
    notes = [tag("p", measured, class_="soft")]
    if baseline:
        compared = f"“Baseline” is {baseline['told']}, compared by {baseline['compared_by']}."
        if baseline["compared_by"] != "perplexity":
            compared += " It has another tokenizer, so its perplexity would mean something else and isn't shown."
        notes.append(tag("p", compared, class_="soft"))
    return section("Metrics", *notes, table(["metric", *(MODELS[name] for name in models)], rows))


def gate(facts: RunFacts) -> Markup:
    """What the blessing hung on."""
    blessing = facts.blessing
    if not blessing:
        return Markup("")
    rows = []
    for check in blessing["checks"]:
        told = tag("span", PASSED if check["passed"] else FAILED, class_="good" if check["passed"] else "bad")
        rows.append([check["name"].replace("_", " "), told, check["sentence"]])
    none = "" if rows else tag("p", "No threshold is set: every model is blessed.")
    rule = (
        "A check passes only if the whole interval is on the right side of its limit, so that a difference which "
        "chance can explain doesn't bless."
    )
    first = "" if blessing["baseline"] else tag("p", "There was no other model to be compared with.")
    again = facts.read("push", "pushed.json").get("compared_again")
    note = f"Push compared it again, as other models had been pushed or removed since the evaluation: {again}."
    checks = table(["check", "", "found"], rows) if rows else ""
    return section("Gate", tag("p", rule, class_="soft"), first, none, checks, tag("p", note) if again else "")


def slices(facts: RunFacts) -> Markup:
    """Perplexity on parts of the test split."""
    entries = facts.evaluation.get("slices", [])
    parts: list[Markup] = []
    for group, members in itertools.groupby(entries, key=lambda entry: entry["group"]):
        rows = []
        for entry in members:
            rows.append(
                [
                    entry["name"],
                    number(entry["masked_tokens"]),
                    number(entry["records"]),
                    perplexity(entry.get("perplexity_before")),
                    with_interval(entry.get("perplexity_after"), entry.get("interval_after"), perplexity),
                ]
            )
            if "note" in entry:
                rows[-1][0] = join([entry["name"], tag("small", entry["note"], class_="interval")])
        header = [group, "masked tokens", "records", "perplexity before", "perplexity after"]
        parts.append(table(header, rows))
    return section("Slices", *parts)


def samples(facts: RunFacts) -> Markup:
    """What the model answers to fixed sentences."""
    rows = []
    for sample in facts.read("evaluate", "samples.json") or ():
        sentence = join(sample["text"].split("<mask>"), tag("mark", "____"))
        rows.append([sentence, answers(sample.get("before", [])), answers(sample.get("after", []))])
    return section("Samples", table(["sentence", "before training", "after training"], rows)) if rows else Markup("")


def answers(candidates: list[dict[str, Any]]) -> Markup:
    """A model's first guesses."""
    items = [
        tag("li", f"{each['token_str'].strip() or repr(each['token_str'])} ({each['score']:.1%})")
        for each in candidates
    ]
    return tag("ol", join(items), class_="answers") if items else text("–")


def data(facts: RunFacts) -> Markup:
    """What the model was trained and measured on."""
    corpus, blocks = facts.read("ingest", "report.json"), facts.read("preprocess", "report.json")
    if not corpus:
        return Markup("")
    splits = ("train", "test")
    rows: list[list[Any]] = [["records", *(number(corpus["records"][split]) for split in splits)]]
    rows.append(
        ["exact duplicates of an earlier record", *(number(corpus["duplicate_records"][split]) for split in splits)]
    )
    for name, column in corpus.get("columns", {}).items():
        rows.append([f"words in {name}", *(number(column[split]["words"]) for split in splits)])
    if blocks:
        for key, told in (
            ("tokens", "tokens"),
            ("blocks", f"blocks of {blocks['block_size']} tokens"),
            ("tokens_dropped", "tokens dropped at the end"),
            ("padding", f"positions of padding (packing: {blocks.get('packing')})"),
        ):
            if key in blocks["splits"]["train"]:
                rows.append([told, *(number(blocks["splits"][split][key]) for split in splits)])
        rows.append(
            ["records without text", *(number(sum(blocks["splits"][split]["skipped"].values())) for split in splits)]
        )
    evaluation, notes = facts.evaluation, list(corpus.get("anomalies", ()))
    measured = evaluation.get("metrics", {})
    if "contaminated_blocks" in measured:
        count, total = measured["contaminated_blocks"], measured["blocks"]
        notes.append(
            f"{count:,} of {total:,} test blocks ({count / total:.1%}) share a run of "
            f"{evaluation['how']['contamination_ngram']} tokens with the train split"
        )
    notes += [
        f"{each['count']:,} {each['what']} skipped: {each['reason']}"
        for each in corpus.get("skipped", ())
        if isinstance(each, dict)
    ]
    return section(
        "Data", table(["", *splits], rows), tag("ul", join(tag("li", note) for note in notes)) if notes else ""
    )
