"""The learning rate over the steps of training."""

import math
from typing import Any

import tensorflow as tf


class WarmupAndDecay(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from 0 to its peak, stays there, and falls to a floor at the end of training.

    Step 0 is the first; step s of the warm-up has s / warmup_steps of the peak, as in run_mlm.py. Where the fall
    begins with the end of the warm-up this is run_mlm.py's `linear` or `cosine` (Loshchilov and Hutter 2017,
    https://arxiv.org/abs/1608.03983, without restarts); with a stable part between, `warmup_stable_decay` (Hu et al.
    2024, https://arxiv.org/abs/2404.06395), whose fall is linear here.

    Args:
        peak: The highest learning rate.
        steps: Steps of training.
        warmup_steps: The first ones, over which it rises; fewer than `steps`.
        decay_steps: The last ones, over which it falls, from 1.
        cosine: Whether it falls along half a cosine instead of a line.
        floor: The part of the peak that it falls to, from 0 to 1.
    """

    def __init__(
        self, peak: float, steps: int, warmup_steps: int, decay_steps: int, *, cosine: bool = False, floor: float = 0.0
    ) -> None:
        super().__init__()
        self.peak = peak
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps
        self.cosine = cosine
        self.floor = floor

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate () float32 of a step () integer, from 0."""
        step = tf.cast(step, tf.float32)
        rise = step / max(1, self.warmup_steps)
        fallen = tf.clip_by_value((step - (self.steps - self.decay_steps)) / self.decay_steps, 0.0, 1.0)
        left = 0.5 * (1.0 + tf.cos(math.pi * fallen)) if self.cosine else 1.0 - fallen
        return self.peak * tf.where(step < self.warmup_steps, rise, self.floor + (1.0 - self.floor) * left)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        names = ("peak", "steps", "warmup_steps", "decay_steps", "cosine", "floor")
        return {name: getattr(self, name) for name in names}
