"""What the page of a model card says of the model's quality: verdict, metrics with intervals, samples, limits."""

from components.contract.mask_placeholder import MASK
from components.contract.reports import Answer, Ends
from components.masking.whole_words import INCOMPLETE
from components.publishing.model_card_sections import (
    CardArtifacts,
    CardSettings,
    dataset_name,
    metric,
    table,
    why_not_blessed,
)
from foundation.text_answers import TOO_MANY_TOKENS

METRICS = {
    "perplexity": "perplexity",
    "cross_entropy": "cross-entropy (nats)",
    "top1_accuracy": "top-1 accuracy",
    "top5_accuracy": "top-5 accuracy",
    "bits_per_character": "bits per character",
    "expected_calibration_error": "expected calibration error",
}
MODELS = {"before": "before training", "after": "after training", "baseline": "baseline", "unigram": "unigram baseline"}
GUESSES = 3
"""Shown of each answer to a sample sentence."""


def evaluation(artifacts: CardArtifacts, settings: CardSettings) -> str:
    """The verdict, the metrics before and after against the baselines, and how they were measured."""
    found = artifacts.evaluation
    metrics, intervals, how = found.metrics, found.report.intervals, found.report.how
    models = [name for name in MODELS if any(f"{key}_{name}" in metrics for key in METRICS)]
    rows = []
    for key, shown in METRICS.items():
        names = [f"{key}_{name}" if f"{key}_{name}" in metrics or name != "after" else key for name in models]
        if any(name in metrics for name in names):
            rows.append((shown, *(with_interval(key, metrics.get(name), intervals.get(name)) for name in names)))
    by_document = "" if how.packing == "concatenate" else ", each of one document"
    why = why_not_blessed(artifacts, settings)
    verdict = f"**Not blessed.** This model was {why}." if why is not None else f"**Blessed.** {_verdict(artifacts)}."
    ranges = f" In brackets: {how.confidence:.4g} intervals, by bootstrap over the records." if intervals else ""
    compared = found.blessing.baseline
    baseline = "" if compared is None else f" The baseline is {compared.name}, compared by {compared.compared_by}."
    return (
        f"## Evaluation\n\n> {verdict}\n\n"
        + table(("metric", *(MODELS[name] for name in models)), rows)
        + f"\n\nMeasured on the {how.split} split with {how.eval_mlm_probability:.0%} of the tokens "
        f"masked, whatever the rate in training was: {metrics.get('masked_tokens', 0):,.0f} masked tokens in "
        f"{metrics.get('blocks', 0):,.0f} blocks of {how.block_size} tokens{by_document}, the same masks (seed "
        f"{how.seed}) for every model, every masked token weighing the same.{ranges} The unigram baseline answers by "
        f"the tokens' frequencies in the train split.{baseline}" + served_forms(artifacts)
    )


def served_forms(artifacts: CardArtifacts) -> str:
    """How the forms answer that servers load and that don't compute in float32; empty without any."""
    found = artifacts.model.report.accuracy
    if not found:
        return ""
    rows = [
        (
            each.form,
            f"{each.loss:.4f}",
            f"{each.float32_loss:.4f}",
            f"{each.loss_increase:+.4f}",
            metric("perplexity", each.perplexity),
            metric("perplexity", each.float32_perplexity),
            f"{each.same_first_answers:.1%}",
        )
        for each in found
    ]
    header = ("served form", "cross-entropy", "in float32", "difference", "perplexity", "in float32", "same answer")
    return (
        f"\n\nWhat servers load doesn't compute in float32. On the first {found[0].masked_tokens:,} of these masked "
        "tokens it was compared with the model in float32; the last column is the part of them for which both find the "
        f"same token the most probable.\n\n{table(header, rows)}"
    )


def _verdict(artifacts: CardArtifacts) -> str:
    """Why the model is blessed, as a sentence without its full stop."""
    sentence = artifacts.evaluation.verdict.removeprefix("blessed: ")
    return sentence[:1].upper() + sentence[1:]


def with_interval(key: str, value: float | None, interval: Ends | None) -> str:
    """A metric and its interval, as people read them."""
    if interval is None or value is None:
        return metric(key, value)
    return f"{metric(key, value)} ({metric(key, interval[0])} to {metric(key, interval[1])})"


def samples(artifacts: CardArtifacts, settings: CardSettings) -> str:
    """What the model answers to sentences; empty where they are the corpus' and no text of it may be shown."""
    of_corpus = artifacts.params("evaluation").get("sample_texts") is None
    shown = artifacts.evaluation.samples
    if not shown or (of_corpus and not settings.corpus_text):
        return ""
    rows = [
        (
            _literally(sample.text.replace(MASK, "____")),
            *([] if not of_corpus else [_literally(sample.masked_word or "–")]),
            _guesses(sample.before),
            _guesses(sample.after),
        )
        for sample in shown
    ]
    header = ("sentence", *(["masked word"] if of_corpus else []), "before training", "after training")
    where = "Sentences of the test split, which the model wasn't trained on." if of_corpus else ""
    piece = any(each.continues_word for sample in shown for each in (*sample.before, *sample.after)[: GUESSES * 2])
    note = " ".join(
        part for part in (where, "A token that begins with - goes on with the word before it." if piece else "") if part
    )
    return f"## What it answers\n\n{table(header, rows)}" + (f"\n\n{note}" if note else "")


def _guesses(answers: tuple[Answer, ...]) -> str:
    shown = []
    for each in answers[:GUESSES]:
        token = each.token_str.removeprefix("##").strip() or each.token_str
        token = "part of a character" if INCOMPLETE in token else f"“{'-' * each.continues_word}{_literally(token)}”"
        shown.append(f"{token} ({'under 1%' if each.score < 0.01 else f'{each.score:.0%}'})")
    return ", ".join(shown) or "–"


def _literally(text: str) -> str:
    """Text that is shown as it stands in a table's cell: nothing in it is Markdown or HTML."""
    escaped = text.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "`*_[]~#":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped


def limits(artifacts: CardArtifacts, settings: CardSettings) -> str:
    """What the model isn't for, from what is known of its corpus, its length and its evaluation."""
    report, how = artifacts.corpus.report, artifacts.evaluation.report.how
    metrics, model = artifacts.evaluation.metrics, artifacts.model.report
    longest = f"{model.max_sequence_length:,} tokens"
    words = max((column.train.words for column in report.columns.values()), default=0)
    size = f" ({words:,} words in its largest column)" if words else ""
    notes = [
        f"It was trained on {dataset_name(artifacts)}{size}, and evaluated on held-out text of the same corpus only. "
        "How it does on other kinds of text, and as the start of another task, was not measured.",
        "Language: "
        + (
            f"{', '.join(settings.languages)}, as stated by whoever pushed it; other languages were not evaluated."
            if settings.languages
            else "none was stated by whoever pushed it. Expect nothing in languages that its corpus doesn't hold."
        ),
        f"It takes texts of at most {longest}; it was evaluated on {how.block_size:,}. "
        + (
            "A served model cuts a longer text to them, and the answer's `status` says so."
            if model.truncation
            else f"A served model doesn't answer a longer one: its `status` is `{TOO_MANY_TOKENS}`."
        ),
        "It fills in masked words. It doesn't generate text, and a probable word is not a fact.",
        "It repeats the prejudices and the errors of its training text. Bias, toxicity and privacy were not evaluated: "
        "look at them before its answers decide anything about people.",
    ]
    contaminated, blocks = metrics.get("contaminated_blocks"), metrics.get("blocks")
    if contaminated and blocks:
        notes.append(
            f"{contaminated:,.0f} of {blocks:,.0f} test blocks share a run of {how.contamination_ngram} tokens with "
            "the train split, which makes the metrics look better than they are."
        )
    after = next((each for each in artifacts.evaluation.report.calibration if each.model == "after"), None)
    if after is not None and after.expected_calibration_error > 2 * after.error_by_chance:
        leaning = "cautious" if after.accuracy > after.confidence else "sure of itself"
        notes.append(
            f"Its probabilities are not exact: it is too {leaning} on the whole. Its first guesses have a probability "
            f"of {after.confidence:.1%} on average, and {after.accuracy:.1%} of them are right."
        )
    return "## Limits of use\n\n" + "\n".join(f"- {note}" for note in notes)
