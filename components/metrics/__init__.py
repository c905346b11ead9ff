"""Metrics as modules in `evaluate`'s own format: each folder loads by its path, here or anywhere."""
