"""How far a training is, in as many columns as there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.training import progress as progress_module
from components.training.progress import Progress, clock, short_number

MEASURES = {"loss": 4.8391, "perplexity": 126.36, "tokens_per_second": 26431.0}


def progress(step=1181, steps=1646, measures=MEASURES, seconds_a_step=0.0387):
    """A training that came so far, at an even pace from its first step on."""
    progress = Progress(steps, 2, 1.0)
    progress._start = (1, 100.0)
    progress._step, progress._measures, progress._time = step, measures, 100.0 + (step - 1) * seconds_a_step
    return progress


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (120, f"  step 1,181/1,646 {'█' * 21}{'░' * 9} 71% loss 4.839 · perplexity 126.4 · 26k tok/s · ETA 0:18"),
        (79, f"  step 1,181/1,646 {'█' * 15}{'░' * 7} 71% loss 4.839 · 26k tok/s · ETA 0:18"),
        (60, "  step 1,181/1,646 71% loss 4.839 · 26k tok/s · ETA 0:18"),
        (39, "1,181/1,646 loss 4.839 26k/s ETA 0:18"),
        (34, "1,181/1,646 loss 4.839 ETA 0:18"),
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
    progress = Progress(1000, 2, 1.0)
    now[0] = 70.0  # loading and compiling
    progress.step(501, {})
    assert "ETA" not in progress.line(200)
    for step in range(502, 512):
        now[0] += 2.0
        progress.step(step, {**MEASURES})
    assert progress.remaining_seconds() == pytest.approx((1000 - 511) * 2)
    assert progress.line(None).endswith("ETA 16:18")


def test_a_long_validation_is_told(monkeypatch):
    shown, now = [], [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress_module.TERMINAL, "status", shown.append)
    training = progress()
    training.validation()
    assert shown[0](79) == training.line(79)
    now[0] += 95.0
    assert shown[0](79) == "  step 1,181/1,646, validation for 1:35"
    assert shown[0](12) == "  step 1,181"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (0.2, "0:01"), (18, "0:18"), (3599.5, "1:00:00"), (172000, "47:46:40"), (200000, "2 days 07:33")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4, "0"), (812.4, "812"), (999.7, "1.0k"), (7060, "7.1k"), (9960, "10k"), (26431, "26k"), (1.234e6, "1.2M")],
)
def test_short_number(value, text):
    assert short_number(value) == text
