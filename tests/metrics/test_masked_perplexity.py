"""The perplexity module, loaded as a stranger would: by its path, from elsewhere, in a process of its own."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.metrics.masked_perplexity.masked_perplexity import MaskedPerplexity
from tests.metrics.loading import METRICS, run_examples, run_outside


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    return MaskedPerplexity(cache_dir=str(tmp_path_factory.mktemp("metric")), keep_in_memory=True)


@given(st.lists(st.floats(-30, 0), min_size=1, max_size=200))
@settings(deadline=None, max_examples=30)
def test_it_is_the_inverse_geometric_mean_of_the_probabilities(metric, log_probabilities):
    results = metric.compute(predictions=log_probabilities)
    total = math.fsum(log_probabilities)
    assert results["cross_entropy"] == pytest.approx(-total / len(log_probabilities), rel=1e-9, abs=1e-12)
    assert results["perplexity"] == pytest.approx(math.exp(-total / len(log_probabilities)), rel=1e-6)
    assert results["tokens"] == len(log_probabilities)


def test_a_uniform_guess_has_the_perplexity_of_the_vocabulary(metric):
    assert metric.compute(predictions=np.full(1000, -math.log(50265)))["perplexity"] == pytest.approx(50265)


def test_batches_added_one_by_one_count_together(metric):
    metric.add_batch(predictions=[math.log(0.5)])
    metric.add_batch(predictions=[math.log(0.125)])
    assert metric.compute()["perplexity"] == pytest.approx(4)


@pytest.mark.parametrize("predictions", [[], None])
def test_nothing_to_measure_is_refused(metric, predictions):
    with pytest.raises(ValueError, match="needs at least one"):
        metric.compute(predictions=predictions)


@pytest.mark.parametrize("wrong", [math.nan, 0.5, math.inf])
def test_what_is_no_log_probability_is_refused(metric, wrong):
    with pytest.raises(ValueError, match=f"at most 0. Received: {wrong} as prediction 1"):
        metric.compute(predictions=[-1.0, wrong])


def test_its_examples_run():
    run_examples("masked_perplexity")


def test_it_loads_by_path_from_outside_the_project(tmp_path):
    code = (
        "import evaluate, sys; "
        f"metric = evaluate.load({str(METRICS / 'masked_perplexity')!r}); "
        "assert not {'components', 'tensorflow', 'torch'} & {name.split('.')[0] for name in sys.modules}; "
        "assert metric.description and metric.citation and metric.inputs_description; "
        "print(metric.compute(predictions=[-1.0, -3.0])['cross_entropy'])"
    )
    assert run_outside(code, tmp_path) == "2.0\n"
