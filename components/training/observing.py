"""Tells an observer how a training goes, as a callback of `fit`."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components.training.observer import Observation


class Observing(tf.keras.callbacks.Callback):
    """Tells an observer when an epoch or the training ends.

    Args:
        observation: What the observer does during this training.
    """

    def __init__(self, observation: Observation) -> None:
        super().__init__()
        self.observation = observation
        # Without it Keras would wait for the loss at every step.
        self._supports_tf_logs = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tells of the epoch, by the number of epochs that the model has seen."""
        is_last = epoch + 1 == self.params.get("epochs") or bool(self.model.stop_training)
        self.observation.epoch_ends(epoch + 1, is_last)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Tells of the end."""
        self.observation.training_ends()
