"""The sections of a run's report that show a model at work: samples, calibration, and the tokens it is worst at."""

import math
from collections.abc import Sequence

from components.contract.mask_placeholder import MASK
from components.contract.reports import Calibration, TokenExample, TokenLoss
from runners.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Place,
    figure,
    grid,
    spot,
    x_title,
)
from runners.report.facts import RunFacts
from runners.report.html import Markup, join, number, percentage, perplexity, section, table, tag, text
from runners.report.sections import MODELS, answers, sentence, token

HONEST = 2
"""A calibration error up to so many times that of chance is no finding."""
FEW_TOKENS = 10
"""A bin of fewer tokens is drawn pale: its height is mostly chance."""


def samples(facts: RunFacts) -> Markup:
    """What the model answers to sentences, before training and after, and to the one that it was exported with."""
    words = any(sample.masked_word is not None for sample in facts.samples)
    rows = []
    for sample in facts.samples:
        word = [tag("bdi", sample.masked_word or "–", dir="auto")] if words else []
        guesses = (answers(each, sample.masked_word) for each in (sample.before, sample.after))
        rows.append([sentence(sample.text), *word, *guesses])
    if facts.model is not None:
        example = facts.model.report.example
        shown = example.text.replace(facts.model.report.mask_token, MASK)
        if shown not in [sample.text for sample in facts.samples]:
            rows.append([sentence(shown), *[text("–")][: int(words)], text("–"), answers(example.answer)])
    if not rows:
        return Markup("")
    note = "The first five guesses for the blank, each with the probability that the model gives it."
    if words:
        note += " The sentences are of the test split, which the model wasn't trained on; a ✓ marks the masked word."
    if any(each.continues_word for sample in facts.samples for each in (*sample.before, *sample.after)):
        note += " A hyphen marks a piece that goes on with the word before it."
    header = ["sentence", *["masked word"][: int(words)], "before training", "after training"]
    return section("Samples", tag("p", note, class_="soft"), table(header, rows, whole=len(header) - 2))


def served_forms(facts: RunFacts) -> Markup:
    """How the forms answer that servers load and that don't compute in float32."""
    found = facts.model.report.accuracy if facts.model is not None else ()
    if not found:
        return Markup("")
    rows = [
        [
            each.form,
            f"{each.loss:.4f}",
            f"{each.float32_loss:.4f}",
            f"{each.loss_increase:+.4f}",
            perplexity(each.perplexity),
            perplexity(each.float32_perplexity),
            percentage(each.same_first_answers),
            f"{each.masked_tokens:,}",
        ]
        for each in found
    ]
    note = (
        "What was exported doesn't compute in float32. It was asked the first of the evaluation's masked tokens, and "
        "the checkpoint in float32 was asked the same. The losses are cross-entropies in nats a token; the same answer "
        "is the share of the tokens for which both have the same first guess."
    )
    header = ["form", "loss", "in float32", "difference", "perplexity", "in float32", "same answer", "masked tokens"]
    return section("Served forms", tag("p", note, class_="soft"), table(header, rows))


def calibration(facts: RunFacts) -> Markup:
    """Whether the models' probabilities are as often right as they say."""
    found = facts.evaluation.report.calibration if facts.evaluation else ()
    if not found:
        return Markup("")
    what = (
        "Are the probabilities honest? The masked tokens are sorted into 15 bins by the probability of the model's "
        "first guess. A bar is the share of these guesses that are right: where it ends on the dashed diagonal, the "
        "model is right as often as it says. Above the diagonal it is too cautious, below it too sure. Pale bars stand "
        f"for fewer than {FEW_TOKENS} tokens."
    )
    source = (
        "The expected calibration error is the mean distance of the bars from the probabilities, each bin weighted by "
        "its tokens (Naeini et al. 2015; 15 bins of equal width as in Guo et al. 2017)."
    )
    charts = [reliability(each) for each in found if sum(part.masked_tokens > 0 for part in each.bins) > 1]
    sentences = tag("ul", join(tag("li", in_words(each)) for each in found))
    return section(
        "Calibration",
        tag("p", what, class_="soft"),
        sentences,
        tag("div", join(charts), class_="charts") if charts else "",
        tag("p", source, class_="soft"),
    )


def in_words(found: Calibration) -> str:
    """What a calibration amounts to, in a sentence."""
    error, chance = found.expected_calibration_error, found.error_by_chance
    if error <= HONEST * chance:
        standing = "no more than chance can explain"
    elif found.accuracy > found.confidence:
        standing = "on the whole it is too cautious"
    else:
        standing = "on the whole it is too sure"
    return (
        f"{MODELS[found.model]}: the expected calibration error is {percentage(error)}, where chance alone would give "
        f"about {percentage(chance)}: {standing}. Its first guesses have a probability of "
        f"{percentage(found.confidence)} on average, and {percentage(found.accuracy)} of them are right."
    )


def reliability(found: Calibration) -> Markup:
    """The reliability diagram of a model, with the number of tokens in each bin."""
    place = Place((0.0, 1.0), (0.0, 1.0))
    fifths = [part / 5 for part in range(6)]
    parts = grid(place, fifths, fifths)
    rows: list[Sequence[object]] = []
    spots: list[Markup] = []
    floor = HEIGHT - BOTTOM
    for part in found.bins:
        left, right = place.across(part.low), place.across(part.high)
        span = f"{part.low:.0%} to {part.high:.0%}"
        if part.accuracy is None or part.confidence is None:
            spots.append(spot(left, right, (left + right) / 2, f"{span} · no tokens"))
            rows.append([span, "0", "–", "–"])
            continue
        top = place.down(part.accuracy)
        pale = " pale" if part.masked_tokens < FEW_TOKENS else ""
        size = {"x": f"{left + 1:.1f}", "width": f"{right - left - 2:.1f}"}
        parts.append(tag("rect", **size, y=f"{top:.1f}", height=f"{floor - top:.1f}", class_=f"bar{pale}"))
        said = f"{number(part.masked_tokens)} tokens · said {percentage(part.confidence)}"
        spots.append(spot(left, right, place.across(part.confidence), f"{said} · right {percentage(part.accuracy)}"))
        rows.append([span, number(part.masked_tokens), percentage(part.confidence), percentage(part.accuracy)])
    for kind in ("halo", "diagonal"):
        parts.append(tag("line", x1=LEFT, y1=floor, x2=WIDTH - RIGHT, y2=TOP, class_=kind))
    parts += [x_title("probability of the first guess"), *spots]
    title = f"{MODELS[found.model].capitalize()}: share of first guesses that are right"
    error = f"expected calibration error {percentage(found.expected_calibration_error)}"
    svg = tag("svg", join(parts), viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{title}; {error}")
    return figure(
        title, join([svg, counts(found)]), tag("p", error, class_="soft"), ["said", "tokens", "mean", "right"], rows
    )


def counts(found: Calibration) -> Markup:
    """How many tokens are in each bin, as bars below the diagram, logarithmic: most guesses are unsure."""
    height = 46
    place = Place((0.0, 1.0), (0.0, 1.0))
    highest = math.log10(max(part.masked_tokens for part in found.bins) + 1)
    parts = [tag("text", "tokens", x=LEFT - 6, y=height, text_anchor="end")]
    for part in found.bins:
        left, right = place.across(part.low), place.across(part.high)
        tall = math.log10(part.masked_tokens + 1) / highest * (height - 16)
        size = {"x": f"{left + 1:.1f}", "width": f"{right - left - 2:.1f}"}
        parts.append(tag("rect", **size, y=f"{height - tall:.1f}", height=f"{tall:.1f}", class_="count"))
        label = compact(part.masked_tokens)
        middle = f"{(left + right) / 2:.1f}"
        parts.append(tag("text", label, x=middle, y=f"{height - tall - 3:.1f}", text_anchor="middle", class_="small"))
    label = "tokens in each bin, on a logarithmic scale"
    return tag("svg", join(parts), viewBox=f"0 0 {WIDTH} {height + 2}", role="img", aria_label=label)


def compact(count: int) -> str:
    """A count in at most four characters."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count // size}{unit}"
    return str(count)


def worst_tokens(facts: RunFacts) -> Markup:
    """The tokens that the trained model fills in worst, each with an example."""
    worst = facts.evaluation.worst_tokens if facts.evaluation else None
    if worst is None:
        return Markup("")
    parts: list[object] = [
        tag("h3", "Worse than guessing by word frequency"),
        tag("p", "By the loss in all that goes beyond that of guessing by word frequency.", class_="soft"),
        token_table(worst.by_excess_loss)
        if worst.by_excess_loss
        else tag("p", "None: at no token is the model worse than guessing by word frequency."),
        tag("h3", "Hardest"),
        tag(
            "p",
            f"By the mean loss, among the tokens that were masked {worst.fewest_masked} times or more.",
            class_="soft",
        ),
        token_table(worst.by_mean_loss)
        if worst.by_mean_loss
        else tag("p", f"None: no token was masked {worst.fewest_masked} times."),
    ]
    note = "Losses are in nats. The example is the place whose loss is nearest to the token's mean."
    return section("Tokens it is worst at", tag("p", note, class_="soft"), *parts)


def token_table(tokens: Sequence[TokenLoss]) -> Markup:
    """Tokens with their losses and examples."""
    header = ["token", "example", "first guess there", "masked", "mean loss", "by frequency", "excess"]
    rows = [
        [
            token(each),
            example(each, each.example),
            join([token(each.example.guess), f" ({percentage(each.example.guess.score)})"]),
            number(each.masked_tokens),
            f"{each.mean_loss:.2f}",
            f"{each.mean_loss_unigram:.2f}",
            f"{each.excess_loss:+,.1f}".replace("-", "−"),
        ]
        for each in tokens
    ]
    return table(header, rows, whole=2)


def example(each: TokenLoss, shown: TokenExample) -> Markup:
    """A token where it was masked, underlined, in the direction of its script."""
    piece = each.token_str.removeprefix("##") if each.continues_word else each.token_str.strip()
    masked = tag("mark", piece or "␣")
    return tag("bdi", join([shown.before, masked, shown.after]), dir="auto", class_="example")
