"""Pseudo-log-likelihood, in the `evaluate` library's format."""
