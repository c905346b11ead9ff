"""The pseudo-log-likelihood module."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.metrics.pseudo_log_likelihood.pseudo_log_likelihood import PseudoLogLikelihood
from tests.metrics.loading import run_examples


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    return PseudoLogLikelihood(cache_dir=str(tmp_path_factory.mktemp("metric")), keep_in_memory=True)


@given(st.lists(st.lists(st.floats(-30, 0), min_size=1, max_size=20), min_size=1, max_size=20))
@settings(deadline=None, max_examples=30)
def test_it_is_the_sum_of_each_text(metric, texts):
    results = metric.compute(predictions=texts)
    sums = [math.fsum(text) for text in texts]
    tokens = sum(map(len, texts))
    assert results["pseudo_log_likelihoods"] == pytest.approx(sums, rel=1e-9, abs=1e-12)
    assert results["pseudo_log_likelihood"] == pytest.approx(math.fsum(sums) / len(sums), rel=1e-9, abs=1e-12)
    assert results["pseudo_perplexity"] == pytest.approx(math.exp(-math.fsum(sums) / tokens), rel=1e-6)
    assert results["tokens"] == tokens


@pytest.mark.parametrize("wrong", [math.nan, 0.5])
def test_what_is_no_log_probability_is_refused(metric, wrong):
    with pytest.raises(ValueError, match=f"at most 0. Received: {wrong} in text 1"):
        metric.compute(predictions=[[-1.0], [-1.0, wrong]])


def test_nothing_to_measure_is_refused(metric):
    with pytest.raises(ValueError, match="Received: no text"):
        metric.compute(predictions=[])
    with pytest.raises(ValueError, match="Received: no token in text 0"):
        metric.compute(predictions=[np.empty(0), [-1.0]])


def test_its_examples_run():
    run_examples("pseudo_log_likelihood")
