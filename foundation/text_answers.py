"""What exporters, servers and clients agree on about a text with masks: its `status`, and how masks are written."""

OK = "ok"
NO_MASK = "no_mask"
TOO_MANY_TOKENS = "too_many_tokens"
INVALID_TOP_K = "invalid_top_k"
NO_TARGET = "no_target"
"""The values of `status`: `ok` for a text that is answered, else why it is not."""

MASK_TOKENS = ("<mask>", "[MASK]", "<special1>", "[mask]")
"""The mask tokens of the tokenizers in use, where a model's own isn't known."""
