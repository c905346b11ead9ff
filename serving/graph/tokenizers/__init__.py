"""Tokenizers inside the TensorFlow graph, equal id for id to the Hugging Face fast tokenizers they come from.

Only core TensorFlow ops and those of tensorflow-text 2.20 are used, because TensorFlow Serving's stock binary links
nothing else.
"""
