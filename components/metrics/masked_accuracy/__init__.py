"""Masked accuracy, in the `evaluate` library's format."""
