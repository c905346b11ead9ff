"""Where a version's directory has what, and what its tokenizer says: known to those who export and those who serve."""

from typing import Any

SAVED_MODEL = "saved_model.pb"
"""What makes a directory a SavedModel."""
TOKENIZER = "assets.extra/tokenizer"
"""The tokenizer's own files, for those who tokenize themselves."""
WARM_UP_REQUESTS = "assets.extra/tf_serving_warmup_requests"
"""What a server asks the model before it answers others (TensorFlow Serving's name)."""
NO_LIMIT = 1e9
"""A tokenizer whose `model_max_length` is this or more has no limit: transformers writes 1e30 for that."""


def stated_length(model_max_length: Any) -> int | None:
    """The most tokens of a text by a tokenizer's `model_max_length`; None where it states none."""
    if not isinstance(model_max_length, int | float) or isinstance(model_max_length, bool):
        return None
    return int(model_max_length) if 0 < model_max_length < NO_LIMIT else None
