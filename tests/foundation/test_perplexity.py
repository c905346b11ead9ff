"""A perplexity has four significant digits wherever it is shown."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.perplexity import perplexity_text


@pytest.mark.parametrize(
    ("perplexity", "text"),
    [
        (1.0, "1.000"),
        (1.0523, "1.052"),
        (1.1494, "1.149"),
        (9.9996, "10.00"),
        (25.4699, "25.47"),
        (647.52, "647.5"),
        (999.96, "1,000"),
        (2056.51, "2,057"),
        (50265, "50,265"),
        (7.2004899e10, "72,004,899,000"),
        (7.2004899e20, "7.200e20"),
        (math.inf, "above 1e300"),
        (math.nan, "no number"),
    ],
)
def test_four_digits_and_commas(perplexity, text):
    assert perplexity_text(perplexity) == text


@given(st.floats(1.0, 1e299))
def test_what_is_shown_is_right_to_four_digits(perplexity):
    text = perplexity_text(perplexity)
    assert float(text.replace(",", "")) == pytest.approx(perplexity, rel=5.001e-4)
    assert len([digit for digit in text.partition("e")[0] if digit.isdigit()]) >= 4


@given(st.floats(1.0, 1e11), st.floats(1.002, 10.0))
def test_what_differs_by_a_fifth_of_a_percent_looks_different(perplexity, factor):
    assert perplexity_text(perplexity) != perplexity_text(perplexity * factor)
