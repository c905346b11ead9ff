"""How a perplexity is written: the same everywhere, so that two of them can be compared by eye."""

import math

LARGEST_WRITTEN_OUT = 1e12
"""Larger ones are written as a power of ten: no vocabulary is nearly as large, so their digits mean nothing."""
BEYOND = "above 1e300"


def perplexity_text(perplexity: float) -> str:
    """A perplexity with four significant digits: `1.052`, `25.47`, `647.5`; larger ones whole, as `2,056`.

    Args:
        perplexity: At least 1; infinity for one that is too large for a number.
    """
    if math.isnan(perplexity):
        return "no number"
    if math.isinf(perplexity):
        return BEYOND
    # The exponent after rounding: 9.9996 is written 10.00.
    exponent = int(f"{perplexity:.3e}".partition("e")[2])
    if perplexity >= LARGEST_WRITTEN_OUT:
        return f"{perplexity:.3e}".replace("e+", "e")
    return f"{perplexity:,.{max(0, 3 - exponent)}f}"
