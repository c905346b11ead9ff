"""Intervals by the paired bootstrap, against the plain way and against known answers."""

import time

import numpy as np
import pytest

from components.evaluation.statistics import percentile_interval, records_needed, resampled_sums


@pytest.mark.parametrize(("confidence", "records"), [(0.5, 20), (0.9, 20), (0.95, 20), (0.99, 100), (0.999, 1000)])
def test_how_many_records_an_interval_needs(confidence, records):
    assert records_needed(confidence) == records


def test_columns_see_the_same_draws():
    first = np.random.default_rng(1).random(50)
    sums = resampled_sums(np.stack([first, 3 * first, np.ones(50)], axis=1), resamples=200, seed=4)
    np.testing.assert_allclose(sums[:, 1], 3 * sums[:, 0])
    np.testing.assert_allclose(sums[:, 2], 50)
    assert np.ptp(sums[:, 0]) > 0


def test_equal_seeds_give_equal_draws():
    columns = np.random.default_rng(2).random((30, 2))
    one, same, other = (resampled_sums(columns, resamples=100, seed=seed) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_the_interval_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(3).normal(5, 2, 2000)
    means = resampled_sums(values[:, None], resamples=20_000, seed=0)[:, 0] / 2000
    interval = percentile_interval(means, 0.95)
    error = 1.96 * values.std() / 2000**0.5
    assert interval.low == pytest.approx(values.mean() - error, abs=0.003)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.003)


def test_a_95_percent_interval_holds_the_truth_19_times_of_20():
    random = np.random.default_rng(5)
    held = 0
    for seed in range(300):
        means = resampled_sums(random.exponential(1, (60, 1)), resamples=1000, seed=seed)[:, 0] / 60
        interval = percentile_interval(means, 0.95)
        held += interval.low < 1 < interval.high
    assert 0.89 < held / 300 < 0.98


def test_ten_thousand_resamples_of_a_thousand_records_are_quick():
    columns = np.random.default_rng(6).random((1000, 60))
    started = time.process_time()
    resampled_sums(columns, resamples=10_000, seed=0)
    # The benchmark tells the time; this only catches a return to a loop over resamples.
    assert time.process_time() - started < 10
