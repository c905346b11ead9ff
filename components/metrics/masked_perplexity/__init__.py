"""Masked perplexity, in the `evaluate` library's format."""
