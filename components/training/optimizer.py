"""AdamW: which weights decay, and at what learning rate each step is made."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from transformers import AdamWeightDecay

from components.training.schedules import WarmupAndDecay

if TYPE_CHECKING:
    from components.training.params import TrainParams
    from components.training.steps import TrainingSteps


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
        floor=params.min_lr_ratio,
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
