"""Charts: ticks that enclose the values, points inside the drawing."""

import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runners.report.charts import (
    HEIGHT,
    SMALLEST,
    WIDTH,
    Level,
    Line,
    evenly,
    line_chart,
    linear_ticks,
    log_ticks,
    tick_labels,
    x_ticks,
)

NUMBERS = st.floats(1e-6, 1e9)


@given(NUMBERS, NUMBERS)
def test_ticks_enclose_the_values_and_are_few(one, other):
    low, high = min(one, other), max(one, other)
    ticks = linear_ticks(low, high)
    assert ticks[0] <= low * (1 + 1e-6)
    assert ticks[-1] >= high * (1 - 1e-6)
    assert 2 <= len(ticks) <= 12
    assert 2 <= len(log_ticks(low, high)) <= 18


@example([5e-324], [], True)
@example([5e-324, 0.0], [-5e-324], False)
@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), min_size=1, max_size=60),
    st.lists(st.floats(-1e9, 1e9), max_size=4),
    st.booleans(),
)
@settings(deadline=None)
def test_whatever_is_drawn_stays_inside(values, levels, logarithmic):
    values = [value if value is None or not math.isfinite(value) else max(min(value, 1e12), -1e12) for value in values]
    lines = [Line("line", list(enumerate(values, 1)))]
    drawn = line_chart("title", lines, [Level("level", value) for value in levels], logarithmic=logarithmic)
    usable = [
        value
        for value in values
        if value is not None and math.isfinite(value) and (value > SMALLEST or not logarithmic)
    ]
    assert bool(drawn) == bool(usable)
    assert "nan" not in drawn
    for x, y in re.findall(r'cx="([^"]+)" cy="([^"]+)"', drawn):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT


@given(NUMBERS, NUMBERS)
@example(1.0, 1.0000001)
def test_ticks_are_1_2_or_5_apart_and_no_two_labels_are_the_same(one, other):
    ticks = linear_ticks(min(one, other), max(one, other))
    step = ticks[1] - ticks[0]
    if step > max(abs(tick) for tick in ticks) * 1e-6:  # else rounding is all there is
        assert round(step / 10 ** math.floor(math.log10(step * 1.0001)), 3) in (1, 2, 5, 10)
        assert len(set(tick_labels(ticks))) == len(ticks)
    logarithmic = log_ticks(min(one, other), max(one, other))
    assert len(set(tick_labels(logarithmic))) == len(logarithmic)


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0, 0.0005, 0.001], ["0", "0.0005", "0.0010"]),
        ([0, 5e-6, 1e-5, 1.5e-5], ["0", "5e-6", "1e-5", "1.5e-5"]),
        ([12, 12.5, 13], ["12.0", "12.5", "13.0"]),
        ([1000, 2000, 5000], ["1,000", "2,000", "5,000"]),
        ([0, 2e7], ["0", "2e7"]),
    ],
)
def test_labels_have_the_decimals_that_they_need(ticks, labels):
    assert tick_labels(ticks) == labels


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_places_below_a_chart_are_few_round_and_within(low, length):
    ticks = list(x_ticks(low, low + length))
    assert 1 <= len(ticks) <= 8
    assert low <= ticks[0] <= ticks[-1] <= low + length
    assert len(ticks) > 2 or length <= 3


def test_a_chart_says_its_values_at_places_and_in_a_table():
    drawn = line_chart(
        "Loss", [Line("train", [(1000, 2.0), (2000, 1.5)]), Line("test", [(2000, 1.75)])], x_label="step"
    )
    assert "<title>step 1,000 · train 2.000</title>" in drawn
    assert "<title>step 2,000 · train 1.500 · test 1.750</title>" in drawn
    assert '<th scope="row">2,000</th><td class="n">1.500</td><td class="n">1.750</td>' in drawn
    assert list(evenly(range(1, 1000), 60))[-1] == 999
    assert 40 < len(evenly(range(1, 1000), 60)) <= 60


@pytest.mark.parametrize(("lowest", "is_logarithmic"), [(1.0, True), (30.0, False), (0.0, False), (-1.0, False)])
def test_a_chart_is_logarithmic_where_its_values_are_far_apart(lowest, is_logarithmic):
    drawn = line_chart("Norm", [Line("norm", [(1, lowest), (2, 100.0)])], logarithmic=None)
    assert ("Norm (logarithmic)" in drawn) is is_logarithmic
