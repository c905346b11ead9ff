"""The sections of a run's report about what came out: verdict, metrics, gate, slices, data."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from components.contract.mask_placeholder import MASK
from components.contract.reports import Answer, Candidate, TokenLoss
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
    "expected_calibration_error": "expected calibration error",
}
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
        tag("h1", join(["Run ", facts.called, " ", badge])),
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
    if metric.startswith(("top", "expected_calibration_error")):
        return percentage
    return perplexity if "perplexity" in metric else number


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
        f"model, whatever the rate in training was. Below each number is its {100 * how.confidence:.4g}% "
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
    checks = table(["check", "result", "found"], rows) if rows else ""
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
        parts.append(table(header, rows, whole=1))
    return section("Slices", *parts)


def sentence(text: str) -> Markup:
    """A sample sentence, in the direction of its script, with a line where its mask is."""
    return tag("bdi", join(text.split(MASK), tag("mark", "____")), dir="auto")


def answers(candidates: Sequence[Answer | Candidate], masked_word: str | None = None) -> Markup:
    """A model's first guesses; the one that is the masked word is marked."""
    items = []
    for each in candidates:
        right = masked_word is not None and each.token_str.strip() == masked_word
        mark = tag("span", " ✓", class_="good", title="the masked word") if right else ""
        items.append(tag("li", join([token(each), f" ({percentage(each.score)})", mark])))
    return tag("ol", join(items), class_="answers") if items else text("–")


def token(each: Answer | Candidate | TokenLoss) -> Markup:
    """A token, with a hyphen before it if it goes on with the word before it."""
    if "\ufffd" in each.token_str:
        return tag("span", "part of a character", class_="soft")
    if getattr(each, "continues_word", False):
        piece = join([tag("span", "-", class_="soft"), each.token_str.removeprefix("##")])
        return tag("bdi", piece, class_="token", title="goes on with the word before it")
    return tag("bdi", each.token_str.strip() or repr(each.token_str), class_="token")


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
        "Data",
        table(["what", "train", "test"], rows),
        tag("ul", join(tag("li", note) for note in notes)) if notes else "",
    )
