"""The accuracy module."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.metrics.masked_accuracy.masked_accuracy import MaskedAccuracy
from tests.metrics.loading import run_examples


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    return MaskedAccuracy(cache_dir=str(tmp_path_factory.mktemp("metric")), keep_in_memory=True)


@given(
    rows=st.lists(st.tuples(st.permutations(range(8)), st.integers(0, 9)), min_size=1, max_size=50),
    k=st.integers(1, 6),
)
@settings(deadline=None, max_examples=30)
def test_it_is_the_share_of_positions_with_the_truth_among_the_first_k(metric, rows, k):
    ranked, true = [list(ids[:6]) for ids, _ in rows], [label for _, label in rows]
    expected = sum(label in ids[:k] for ids, label in zip(ranked, true, strict=True)) / len(rows)
    results = metric.compute(predictions=ranked, references=true, k=k)
    assert results == {f"top{k}_accuracy": pytest.approx(expected, abs=1e-6)}


def test_it_reports_one_and_five_where_nothing_is_asked(metric):
    results = metric.compute(predictions=np.array([[3, 1, 2, 0, 4], [0, 1, 2, 3, 4]]), references=np.array([3, 4]))
    assert results == {"top1_accuracy": 0.5, "top5_accuracy": 1.0}


def test_nothing_to_measure_is_refused(metric):
    with pytest.raises(ValueError, match="needs at least one"):
        metric.compute(predictions=[], references=[])


@pytest.mark.parametrize("k", [0, 3])
def test_k_beyond_the_predictions_is_refused(metric, k):
    with pytest.raises(ValueError, match=f"Received: k={k} with 2 predictions"):
        metric.compute(predictions=[[1, 2]], references=[1], k=k)


def test_rows_of_unequal_length_are_refused(metric):
    with pytest.raises(ValueError, match=r"rows of \[1, 2\]"):
        metric.compute(predictions=[[1, 2], [3]], references=[1, 3], k=1)


def test_its_examples_run():
    run_examples("masked_accuracy")
