"""Tokenizers: their settings, those that are trained here, those that are loaded, and words that are added."""
