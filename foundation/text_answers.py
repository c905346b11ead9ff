"""What exporters, servers and clients agree on about a text with masks: its `status`, and how masks are written."""

import re

OK = "ok"
NO_MASK = "no_mask"
TOO_MANY_TOKENS = "too_many_tokens"
INVALID_TOP_K = "invalid_top_k"
NO_TARGET = "no_target"
"""The values of `status`: `ok` for a text that is answered whole, else why it is not. Of a model that truncates there
are two more, with the number of tokens in them: `truncated_to` and `no_mask_within`."""

MASK_TOKENS = ("<mask>", "[MASK]", "<special1>", "[mask]")
"""The mask tokens of the tokenizers in use, where a model's own isn't known."""

_TRUNCATED = re.compile(r"truncated_to_(\d+)_tokens")
_NO_MASK_WITHIN = re.compile(r"no_mask_within_(\d+)_tokens")


def truncated_to(tokens: int) -> str:
    """The status of a text that is answered after it was cut to so many tokens, special ones included."""
    return f"truncated_to_{tokens}_tokens"


def no_mask_within(tokens: int) -> str:
    """The status of a text all of whose masks were cut off with what is over so many tokens."""
    return f"no_mask_within_{tokens}_tokens"


def tokens_kept(status: str) -> int | None:
    """To how many tokens an answered text was cut; None where it wasn't."""
    found = _TRUNCATED.fullmatch(status)
    return int(found[1]) if found else None


def tokens_without_mask(status: str) -> int | None:
    """Within how many tokens a text has no mask, though it has one after them; None for any other status."""
    found = _NO_MASK_WITHIN.fullmatch(status)
    return int(found[1]) if found else None


def is_answered(status: str) -> bool:
    """Whether a text with this status has an answer, of all of it or of what it was cut to."""
    return status == OK or tokens_kept(status) is not None
