"""The longest text that a tokenizer says it takes: one reading of it for those who export and those who serve."""

from typing import Any

NO_LIMIT = 1e9
"""A tokenizer whose `model_max_length` is this or more has no limit: transformers writes 1e30 for that."""


def stated_length(model_max_length: Any) -> int | None:
    """The most tokens of a text by a tokenizer's `model_max_length`; None where it states no limit."""
    if not isinstance(model_max_length, int | float) or isinstance(model_max_length, bool):
        return None
    return int(model_max_length) if 0 < model_max_length < NO_LIMIT else None
