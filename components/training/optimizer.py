"""AdamW: which weights decay, and at what learning rate each step is made."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from transformers import AdamWeightDecay

if TYPE_CHECKING:
    from components.training.params import TrainingSteps, TrainParams


class WarmupAndDecay(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from 0 to its peak, stays there, and falls to a floor at the end of training.

    Step 0 is the first; step s of the warm-up has s / warmup_steps of the peak, as in run_mlm.py. Where the fall
    begins with the end of the warm-up this is run_mlm.py's `linear` or `cosine` (Loshchilov and Hutter 2017,
    https://arxiv.org/abs/1608.03983, without restarts); with a stable part between, `warmup_stable_decay` (Hu et al.
    2024, https://arxiv.org/abs/2404.06395), whose fall is linear here; with a floor of 1, `constant_with_warmup`.

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
        """The arguments of `__init__`, by which Keras makes another like it."""
        names = ("peak", "steps", "warmup_steps", "decay_steps", "cosine", "floor")
        return {name: getattr(self, name) for name in names}


class AdamW(AdamWeightDecay):
    """Adam with decoupled weight decay, of the weight matrices only.

    Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization" (https://arxiv.org/abs/1711.05101). The
    library's own list of what doesn't decay is looked for anywhere in a name, and `layer_norm` stands in that of
    RoBERTa-PreLayerNorm's model, of which nothing at all would decay.
    """

    def _decay_weights_op(
        self, var: tf.Variable, learning_rate: tf.Tensor, apply_state: Mapping[Any, Any]
    ) -> tf.Operation | tf.Tensor:
        if not self.weight_decay_rate or not decays(var):
            return tf.no_op()
        # The library subtracts, which goes over the weights three more times than replacing them does.
        return var.assign(var * (1.0 - tf.cast(learning_rate * self.weight_decay_rate, var.dtype)))


def decays(variable: tf.Variable) -> bool:
    """Whether weight decay applies to a weight: not to biases, and not to the scales and offsets of norms.

    Biases and norms are vectors, except Funnel's three biases a head and the bias of MPNet's attention by distance;
    what is no vector is a matrix or an embedding.
    """
    return variable.shape.rank >= 2 and "bias" not in variable.name


def build_optimizer(params: "TrainParams", steps: "TrainingSteps") -> tf.keras.optimizers.Optimizer:
    """AdamW with the learning-rate schedule of the params; under `mixed_float16`, with a dynamic loss scale.

    Clipping is the training step's: the norm is that of all replicas' and all accumulated gradients together.
    """
    rate = WarmupAndDecay(
        params.learning_rate,
        steps.steps,
        steps.warmup_steps,
        steps.decay_steps,
        cosine=params.lr_scheduler_type == "cosine",
        floor=1.0 if params.lr_scheduler_type == "constant" else params.min_lr_ratio,
    )
    optimizer = AdamW(
        learning_rate=rate,
        beta_1=params.adam_beta1,
        beta_2=params.adam_beta2,
        epsilon=params.adam_epsilon,
        weight_decay_rate=params.weight_decay,
    )
    if tf.keras.mixed_precision.global_policy().name == "mixed_float16":
        return tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def create_slots(optimizer: tf.keras.optimizers.Optimizer, variables: list[tf.Variable]) -> None:
    """Makes an optimizer's variables, which it would otherwise make at its first step."""
    if isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    if isinstance(optimizer, tf.keras.optimizers.legacy.Optimizer):
        optimizer.iterations  # noqa: B018 (made when first asked for)
        optimizer._create_all_weights(variables)
    else:
        optimizer.build(variables)
