"""Calibration: the expected calibration error beside a plain recomputation, and what chance alone gives."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.evaluation.calibration import BINS, calibration
from components.modeling.scoring import Scores


def measured(confidences, right):
    """The calibration of first guesses with these probabilities, of which some are right."""
    confidences, right = np.asarray(confidences), np.asarray(right)
    top = np.log(confidences)
    guesses = np.where(right, 7, 8)[:, None]
    return calibration("after", Scores(top, guesses, top), np.full(len(right), 7))


def test_a_model_that_is_always_sure_and_half_right_is_off_by_a_half():
    found = measured([1.0] * 10, [True, False] * 5)
    assert found.expected_calibration_error == pytest.approx(0.5)
    assert found.error_by_chance == 0
    assert [each.masked_tokens for each in found.bins] == [0] * (BINS - 1) + [10]
    assert (found.bins[-1].confidence, found.bins[-1].accuracy, found.bins[0].accuracy) == (1.0, 0.5, None)


def test_a_bin_is_closed_on_the_right():
    found = measured([3 / BINS, 3 / BINS + 1e-6], [True, True])
    assert [number for number, each in enumerate(found.bins) if each.masked_tokens] == [2, 3]


@given(st.lists(st.tuples(st.floats(1e-12, 1.0), st.booleans()), min_size=1, max_size=60))
@example([(1e-12, True), (1.0, False)])
def test_the_error_is_that_of_a_plain_loop(answers):
    confidences, right = np.exp(np.log([each for each, _ in answers])), [each for _, each in answers]
    error = 0.0
    for number in range(BINS):
        inside = [
            (confidence, hit)
            for confidence, hit in zip(confidences, right, strict=True)
            if number == min(BINS - 1, max(0, int(np.ceil(min(confidence, 1.0) * BINS)) - 1))
        ]
        if inside:
            gap = np.mean([each for each, _ in inside]) - np.mean([hit for _, hit in inside])
            error += len(inside) / len(answers) * abs(gap)
    found = measured(*zip(*answers, strict=True))
    assert found.expected_calibration_error == pytest.approx(error, abs=1e-9)
    assert sum(each.masked_tokens for each in found.bins) == len(answers)
    assert found.accuracy == pytest.approx(np.mean(right))


def test_a_model_that_draws_its_answers_from_its_probabilities_shows_the_error_of_chance():
    random = np.random.default_rng(0)
    confidences = random.beta(1, 3, 3000)
    drawn = [measured(confidences, random.random(3000) < confidences) for _ in range(40)]
    mean = np.mean([each.expected_calibration_error for each in drawn])
    assert mean == pytest.approx(drawn[0].error_by_chance, rel=0.1)
