"""How a configuration writes a mask, whose token differs from tokenizer to tokenizer."""

MASK = "<mask>"
"""Stands for the tokenizer's own mask token in `export.example`, `validate.texts` and `evaluate.sample_texts`."""
