"""The gate: a worse model and noise are stopped, a better one passes."""

import re

import numpy as np
import pytest

from components.contract.reports import Interval
from components.evaluation.gate import Thresholds, beside_counting, check_all, ratio_in_words, sentence_of
from components.evaluation.params import EvaluateParams
from components.evaluation.statistics import Length, RecordSums, Resampled

RECORDS = 400


def sums(loss, masked, text_tokens=None):
    nothing = np.zeros(len(masked))
    return RecordSums(masked, loss, nothing, nothing, masked * 7 if text_tokens is None else text_tokens)


def resample(losses, records=RECORDS, confidence=0.95):
    """Models whose loss a token is the given number, and noise of their own by record."""
    random = np.random.default_rng(0)
    masked = random.integers(1, 20, records).astype(float)
    hardness = random.normal(0, 1, records)
    models = {
        name: sums(masked * (loss + hardness + random.normal(0, 0.2, records)), masked) for name, loss in losses.items()
    }
    length = Length(masked * 30, masked * 31)
    return Resampled(models, length, confidence=confidence, resamples=2000, seed=1)


def verdict(
    losses, thresholds=(None, 0.01, 0.01), records=RECORDS, same_tokenizer=True, confidence=0.95, over_unigram=0.01
):
    """By the perplexity, and the improvements over the start and the baseline, that are asked for."""
    told = "the last blessed model" if "baseline" in losses else None
    resampled = resample({**losses, "unigram": losses.get("unigram", 6.5)}, records, confidence)
    limits = Thresholds(*thresholds[:2], over_unigram, thresholds[2])
    checks = check_all(resampled, limits, baseline=told, same_tokenizer=same_tokenizer)
    return all(check.passed for check in checks), sentence_of(checks)


def test_a_better_model_is_blessed_and_the_sentence_says_by_how_much():
    blessed, sentence = verdict({"before": 8, "after": 4, "baseline": 4.5})
    assert blessed
    assert sentence.startswith("blessed: perplexity is 98.")
    assert re.search(r"; perplexity is 38\.\d% below that of the last blessed model \(interval 3\d\.\d% to ", sentence)


def test_a_worse_model_is_not_blessed():
    blessed, sentence = verdict({"before": 8, "after": 5, "baseline": 4.5})
    assert not blessed
    assert re.search(r"6\d\.\d% above that of the last blessed model \(interval 6\d\.\d% to ", sentence)
    assert sentence.endswith("and must be more than 1% below")
    assert "before training" not in sentence


def test_noise_is_not_blessed():
    blessed, sentence = verdict({"before": 8, "after": 4.47, "baseline": 4.5})
    assert not blessed
    assert "chance can explain" in sentence


def test_a_model_that_learned_next_to_nothing_is_not_blessed():
    """A drift too small to matter may be the same on every record, so that no bootstrap takes it for chance."""
    random = np.random.default_rng(0)
    masked = random.integers(1, 20, RECORDS).astype(float)
    loss = masked * random.normal(6, 1, RECORDS)
    models = {"before": sums(loss, masked), "after": sums(loss * (1 - 1e-8), masked)}
    models["baseline"] = models["before"]
    resampled = Resampled(models, Length(masked, masked), confidence=0.95, resamples=200, seed=1)
    assert resampled.perplexity_ratio("after", "before")[1].high < 1
    params = EvaluateParams()
    models["unigram"] = models["before"]
    resampled = Resampled(models, Length(masked, masked), confidence=0.95, resamples=200, seed=1)
    thresholds = Thresholds(
        None,
        params.min_improvement_over_start,
        params.min_improvement_over_unigram,
        params.min_improvement_over_baseline,
    )
    checks = check_all(resampled, thresholds, baseline="the last blessed model", same_tokenizer=True)
    assert [check.passed for check in checks] == [False, False, False]
    assert beside_counting(resampled) == "hardly better than guessing by word frequency"
    assert "0.0% below that before training (interval 0.0% to 0.0%), and must be more than 1% below" in (
        sentence_of(checks)
    )


@pytest.mark.parametrize(
    ("ratio", "low", "high", "told"),
    [
        (0.877, 0.865, 0.89, "12.3% below the other (interval 11.0% to 13.5%)"),
        (1.08, 1.05, 1.12, "8.0% above the other (interval 5.0% to 12.0%)"),
        (0.99, 0.97, 1.02, "1.0% below the other (interval -2.0% to 3.0%)"),
        (1.0, 1.0, 1.0, "0.0% below the other (interval 0.0% to 0.0%)"),
        (140.0, 130.0, 150.0, "13,900.0% above the other (interval 12,900.0% to 14,900.0%)"),
    ],
)
def test_ratios_are_told_in_percent(ratio, low, high, told):
    assert ratio_in_words(ratio, Interval(low, high), "the other") == told


def test_pairing_sees_what_intervals_of_each_alone_hide():
    losses = {"before": 8, "after": 4.4, "baseline": 4.5}
    resampled = resample(losses)
    after, baseline = resampled.perplexity("after")[1], resampled.perplexity("baseline")[1]
    assert after.high > baseline.low
    assert verdict(losses)[0]


@pytest.mark.parametrize(("threshold", "blessed"), [(0.2, True), (0.9, False), (0, True), (-0.5, True)])
def test_improvement_over_the_baseline_can_be_asked_or_forgiven(threshold, blessed):
    assert verdict({"before": 8, "after": 4, "baseline": 4.5}, (None, 0.0, threshold))[0] is blessed


def test_a_little_worse_can_be_allowed():
    assert verdict({"before": 8, "after": 4.52, "baseline": 4.5}, (None, 0.0, -0.2))[0]


def test_the_absolute_limit_counts_with_its_interval():
    losses = {"before": 8, "after": 4}
    low, high = resample(losses).perplexity("after")[1].low, resample(losses).perplexity("after")[1].high
    assert verdict(losses, (high * 1.01, None, None))[0]
    assert not verdict(losses, ((low + high) / 2, None, None))[0]


def test_perplexities_have_four_digits():
    sentence = verdict({"before": 8, "after": 1}, (2, None, None))[1]
    assert re.search(r"perplexity is 2\.\d{3} \(interval 2\.\d{3} to 3\.\d{3}\), and must be below 2\.000", sentence)


def test_another_tokenizer_is_compared_by_bits_per_character_and_it_is_said():
    blessed, sentence = verdict({"before": 8, "after": 5, "baseline": 4.5}, same_tokenizer=False)
    assert not blessed
    assert "bits per character are" in sentence
    assert "which has another tokenizer" in sentence


@pytest.mark.parametrize(("confidence", "records"), [(0.95, 19), (0.99, 99)])
def test_too_few_records_are_never_blessed_and_the_sentence_says_how_many_are_needed(confidence, records):
    losses = {"before": 8, "after": 1}
    blessed, sentence = verdict(losses, records=records, confidence=confidence)
    assert not blessed
    assert f"needs at least {records + 1} test records" in sentence
    assert f"there are {records}" in sentence
    assert verdict(losses, records=records + 1, confidence=confidence)[0]


def test_without_thresholds_everything_is_blessed():
    everything = verdict({"before": 1, "after": 9}, (None, None, None), over_unigram=None)
    assert everything == (True, "blessed: no threshold is set")


@pytest.mark.parametrize("more", [{}, {"baseline": 9}], ids=["first model", "after another"])
def test_a_model_worse_than_counting_words_is_not_blessed_whatever_else_it_beats(more):
    blessed, sentence = verdict({"before": 8, "after": 5.2, "unigram": 5} | more)
    assert not blessed
    assert re.fullmatch(
        r"not blessed: worse than guessing by word frequency: perplexity \d+\.\d, unigram \d+\.\d, that is "
        r"2\d\.\d% above \(interval \d\d\.\d% to 2\d\.\d%\), and must be more than 1% below",
        sentence,
    )


def test_with_another_tokenizer_too_it_is_not_blessed():
    blessed, sentence = verdict({"before": 8, "after": 5.2, "unigram": 5, "baseline": 9}, same_tokenizer=False)
    assert not blessed
    assert sentence.startswith("not blessed: worse than guessing by word frequency: ")


def test_what_chance_can_explain_is_not_better_than_counting_words():
    losses = {"before": 8, "after": 4.99, "unigram": 5}
    blessed, sentence = verdict(losses)
    assert not blessed
    assert "not better than guessing by word frequency, beyond chance: perplexity " in sentence
    assert "all of the interval must be more than 1% below" in sentence
    assert beside_counting(resample(losses)) == "not better than guessing by word frequency, beyond chance"


@pytest.mark.parametrize(
    ("asked", "after", "blessed"),
    [(0.01, 4.9, True), (0.5, 4.9, False), (0, 4.9, True), (0, 5.05, False), (-0.2, 5.05, True), (None, 8, True)],
)
def test_the_improvement_over_counting_words_can_be_asked_forgiven_or_turned_off(asked, after, blessed):
    losses = {"before": 9, "after": after, "unigram": 5}
    assert verdict(losses, over_unigram=asked)[0] is blessed
    # What it is beside counting words doesn't hang on what was asked.
    assert (beside_counting(resample(losses)) is None) is (after < 5)


@pytest.mark.parametrize(("after", "told"), [(5.1, "worse than guessing by word frequency"), (4.9, None)])
def test_with_few_records_what_was_measured_is_told(after, told):
    assert beside_counting(resample({"after": after, "unigram": 5}, records=19)) == told


def test_bits_per_character_by_hand():
    masked, tokens = np.array([2.0, 1, 3] * 10), np.array([10.0, 20, 30] * 10)
    models = {"after": sums(masked * np.log(8), masked, tokens)}
    length = Length(tokens * 4, tokens * 5)
    resampled = Resampled(models, length, confidence=0.95, resamples=100, seed=0)
    assert resampled.bits("characters", "after")[0] == pytest.approx(3 / 4)
    assert resampled.bits("bytes", "after")[0] == pytest.approx(3 / 5)
    assert resampled.perplexity("after")[0] == pytest.approx(8)
