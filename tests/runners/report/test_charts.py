"""Charts: ticks that enclose the values, points inside the drawing."""

import math
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runners.report.charts import HEIGHT, SMALLEST, WIDTH, Level, Line, line_chart, linear_ticks, log_ticks

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
