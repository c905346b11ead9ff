"""Dropout in a part of the encoder, as a function of a key."""

import itertools

import tensorflow as tf

from components.modeling.library.dropout import dropped

CALLS_A_PART = 64
"""More than a part of the model has places where elements are dropped."""


class Dropping:
    """Drops elements by a key, other ones at each call; a part that is computed again drops the same.

    Args:
        key: As of `step_key`; None drops nothing.
        part: The number of the part of the model.
    """

    def __init__(self, key: tf.Tensor | None, part: int) -> None:
        self.key = key
        self._calls = itertools.count(part * CALLS_A_PART)

    def __call__(self, values: tf.Tensor, rate: float) -> tf.Tensor:
        """Each element times 1 / (1 - rate), or 0 with probability `rate`; same shape and dtype."""
        return values if self.key is None or not rate else dropped(values, rate, self.key, next(self._calls))
