"""An exponential moving average of a model's weights."""

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf


class WeightAverage(tf.Module):
    """Averages of variables over the steps of training, which can take the variables' place.

    Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging", with exponential weights. The
    decay of step t is at most (1 + t) / (10 + t), as in `tf.train.ExponentialMovingAverage`: else a short training
    would keep much of the random weights that it started from.

    Args:
        weights: The variables.
        decay: From 0 to 1, exclusive: how much of the average a step keeps.
    """

    def __init__(self, weights: Sequence[tf.Variable], decay: float) -> None:
        super().__init__(name="weight_average")
        self.decay = decay
        self.weights = list(weights)
        self.averages = [tf.Variable(weight.read_value(), trainable=False) for weight in weights]
        self._swapped = False

    def update(self, step: tf.Tensor) -> None:
        """Takes the weights after a step () integer, counted from 1, into the averages."""
        step = tf.cast(step, tf.float32)
        part = 1.0 - tf.minimum(self.decay, (1.0 + step) / (10.0 + step))

        def update_all(strategy: tf.distribute.Strategy, part: tf.Tensor) -> None:
            for average, weight in zip(self.averages, self.weights, strict=True):
                strategy.extended.update(average, move_towards, args=(weight, part))

        # On each replica from its own copy, so that no weight travels between devices.
        tf.distribute.get_replica_context().merge_call(update_all, args=(part,))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Exchanges the weights with their averages while the context lasts; inside another it does nothing."""
        if self._swapped:
            yield
            return
        self.swap()
        self._swapped = True
        try:
            yield
        finally:
            self.swap()
            self._swapped = False

    def swap(self) -> None:
        """Exchanges the weights with their averages."""
        for average, weight in zip(self.averages, self.weights, strict=True):
            value = weight.read_value()
            weight.assign(average.read_value())
            average.assign(value)


def move_towards(average: tf.Variable, weight: tf.Variable, part: tf.Tensor) -> tf.Operation:
    """Moves an average a part of the way to a weight."""
    return average.assign_sub(part * (average - weight))
