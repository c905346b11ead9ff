"""How far a training is, in as many columns as there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.training import progress as progress_module
from components.training.progress import Progress

MEASURES = {"loss": 4.8391, "perplexity": 126.36, "tokens_per_second": 26431.0}


def progress(step=1181, steps=1646, measures=MEASURES, seconds_a_step=0.0387):
    """A training that came so far, at an even pace from its first step on."""
    progress = Progress(steps, 2)
    progress._start = (1, 100.0)
    progress._step, progress._measures, progress._time = step, measures, 100.0 + (step - 1) * seconds_a_step
    return progress


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (120, f"  step 1,181/1,646 {'█' * 21}{'░' * 9} 71% loss 4.839 · perplexity 126.4 · 26k tok/s · ETA 0:18"),
        (79, f"  step 1,181/1,646 {'█' * 15}{'░' * 7} 71% loss 4.839 · 26k tok/s · ETA 0:18"),
        (60, f"1,181/1,646 {'█' * 7}{'░' * 3} 71% loss 4.839 · 26k tok/s · ETA 0:18"),
        (55, f"1,181/1,646 {'█' * 3}{'░' * 2} 71% loss 4.839 · 26k tok/s · ETA 0:18"),
        (54, f"  step 1,181/1,646 {'█' * 6}{'░' * 3} 71% loss 4.839 · ETA 0:18"),
        (39, "1,181/1,646 71% loss 4.839 · ETA 0:18"),
        (28, "1,181/1,646 71% ETA 0:18"),
        (15, "1,181/1,646 71%"),
        (4, "71%"),
        (1, "7"),
        (None, "  step 1,181/1,646, 71%, loss 4.839, perplexity 126.4, 26k tok/s, ETA 0:18"),
    ],
)
def test_it_says_what_there_is_room_for(columns, line):
    assert progress().line(columns) == line


@given(
    st.integers(1, 300),
    st.integers(1, 10**8),
    st.floats(0, 1),
    st.sampled_from([{}, {"loss": 1e-9, "perplexity": 1.0}, {**MEASURES, "loss": 701.5, "perplexity": None}, MEASURES]),
    st.floats(1e-4, 1e4),
)
def test_it_never_is_too_long(columns, steps, share, measures, seconds_a_step):
    step = max(1, int(steps * share))
    line = progress(step, steps, measures, seconds_a_step).line(columns)
    assert 0 < len(line) <= columns
    assert f"{step:,}/{steps:,}" in line or columns < 28
    assert "100%" not in line or step == steps


def test_the_time_left_is_told_by_the_steps_of_this_run(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    progress = Progress(1000, 2)
    now[0] = 70.0  # loading and compiling
    progress.step(501, {})
    assert "ETA" not in progress.line(200)
    for step in range(502, 512):
        now[0] += 2.0
        progress.step(step, {**MEASURES})
    assert progress.remaining_seconds() == pytest.approx((1000 - 511) * 2)
    assert progress.line(None).endswith("ETA 16:18")


def test_a_long_validation_has_a_bar_and_a_time_left(monkeypatch):
    shown, now = [], [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress_module.TERMINAL, "status", shown.append)
    training = progress()
    training.validation_batches = 101
    for _ in range(2):  # the second validation begins anew
        training.validation()
        line = shown.pop()
        training.validated()  # compiled, which is no measure of the others
        assert line(79) == training.line(79)
        for _ in range(50):
            now[0] += 0.2
            training.validated()
        assert line(79) == f"  train       validating 51/101 batches {'█' * 10}{'░' * 10} 50% 5/s · ETA 0:10"
        assert line(20) == "51/101 50% ETA 0:10"
        assert line(None) == "  train       validating 51/101 batches, 50%, 5/s, ETA 0:10"
