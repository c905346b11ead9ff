"""AdamW, StableAdamW and Muon: which weights decay, and at what learning rate each step is made."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import tensorflow as tf
from transformers import AdamWeightDecay

from components.training.orthogonal import orthogonal

if TYPE_CHECKING:
    from components.training.params import TrainingSteps, TrainParams

MOMENTUM = 0.95
"""How much of its momentum a step of Muon keeps."""
ADAMW_SIZE = 0.2
"""The root mean square of an AdamW step in units of its learning rate, as Liu et al. 2025 found it."""


class WarmupAndDecay(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from 0 to its peak, stays there, and falls to a floor at the end of training.

    Step 0 is the first; step s of the warm-up has s / warmup_steps of the peak, as in run_mlm.py. Where the fall
    begins with the end of the warm-up this is run_mlm.py's `linear` or `cosine` (Loshchilov and Hutter 2017,
    https://arxiv.org/abs/1608.03983, without restarts); with a stable part between, `warmup_stable_decay` (Hu et al.
    2024, https://arxiv.org/abs/2404.06395), the trapezoid of Hägele et al. 2024 (https://arxiv.org/abs/2405.18392), who
    fall by `1-sqrt`; with a floor of 1, `constant_with_warmup`.

    Args:
        peak: The highest learning rate.
        steps: Steps of training.
        warmup_steps: The first ones, over which it rises; fewer than `steps`.
        decay_steps: The last ones, over which it falls, from 1.
        shape: Along what it falls: a line, half a cosine, or 1 less the square root of the part that has passed.
        floor: The part of the peak that it falls to, from 0 to 1.
    """

    def __init__(
        self,
        peak: float,
        steps: int,
        warmup_steps: int,
        decay_steps: int,
        *,
        shape: Literal["linear", "cosine", "1-sqrt"] = "linear",
        floor: float = 0.0,
    ) -> None:
        super().__init__()
        self.peak = peak
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps
        self.shape = shape
        self.floor = floor

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate () float32 of a step () integer, from 0."""
        step = tf.cast(step, tf.float32)
        rise = step / max(1, self.warmup_steps)
        fallen = tf.clip_by_value((step - (self.steps - self.decay_steps)) / self.decay_steps, 0.0, 1.0)
        if self.shape == "cosine":
            left = 0.5 * (1.0 + tf.cos(math.pi * fallen))
        else:
            left = 1.0 - (tf.sqrt(fallen) if self.shape == "1-sqrt" else fallen)
        return self.peak * tf.where(step < self.warmup_steps, rise, self.floor + (1.0 - self.floor) * left)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`, by which Keras makes another like it."""
        names = ("peak", "steps", "warmup_steps", "decay_steps", "shape", "floor")
        return {name: getattr(self, name) for name in names}


class AdamW(AdamWeightDecay):
    """Adam with decoupled weight decay, of the weight matrices only, unless every weight is to decay.

    Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization" (https://arxiv.org/abs/1711.05101). The
    library's own list of what doesn't decay is looked for anywhere in a name, and `layer_norm` stands in that of
    RoBERTa-PreLayerNorm's model, of which nothing at all would decay.

    Args:
        arguments: Those of the library's class.
        decay_all: Whether biases and norms decay, too.
        options: Those of the library's class.
    """

    def __init__(self, *arguments: Any, decay_all: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.decay_all = decay_all

    def _decay_weights_op(
        self, var: tf.Variable, learning_rate: tf.Tensor, apply_state: Mapping[Any, Any]
    ) -> tf.Operation | tf.Tensor:
        if not self.weight_decay_rate or not (self.decay_all or decays(var)):
            return tf.no_op()
        # The library subtracts, which goes over the weights three more times than replacing them does.
        return var.assign(var * (1.0 - tf.cast(learning_rate * self.weight_decay_rate, var.dtype)))


class StableAdamW(AdamW):
    """AdamW whose step of each weight is smaller while its gradients are larger than the second moment knows.

    Wortsman et al. 2023, "Stable and low-precision training for large-scale vision-language models", algorithm 2
    (https://arxiv.org/abs/2304.13013): the learning rate of a weight, its decay included, is divided by the root mean
    square of gradient / sqrt(second moment), over all its elements, where that is above 1. The gradients are dense.
    """

    def _resource_apply_dense(
        self, grad: tf.Tensor, var: tf.Variable, apply_state: Mapping[Any, Any] | None = None
    ) -> tf.Operation:
        place = var.device, var.dtype.base_dtype
        state = (apply_state or {}).get(place) or self._fallback_apply_state(*place)
        unbiased = 1.0 - state["beta_2_power"]
        ratio = update_size(grad, self.get_slot(var, "v"), state["beta_2_t"], unbiased, state["epsilon"])
        own = {
            **state,
            "lr_t": state["lr_t"] / tf.maximum(ratio, 1.0),
            # The library's epsilon is added to the root of the moment that isn't yet corrected for its start at 0.
            "epsilon": state["epsilon"] * tf.sqrt(unbiased),
        }
        return super()._resource_apply_dense(grad, var, {place: own})


class Muon(AdamW):
    """Steps with equal singular values for the matrices of the layers; AdamW for all other weights.

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"
    (https://kellerjordan.github.io/posts/muon/), with Nesterov's momentum. A step is as large as AdamW's would be, so
    that both have one learning rate and one weight decay: Liu et al. 2025, "Muon is Scalable for LLM Training", section
    2.2 (https://arxiv.org/abs/2502.16982). A matrix has one moment instead of two.

    Args:
        arguments: Those of `AdamW`.
        matrices: The variables, of rank 2, that get such steps.
        options: Those of `AdamW`.
    """

    def __init__(self, *arguments: Any, matrices: Iterable[tf.Variable] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.matrices = frozenset(matrix.ref() for matrix in matrices)

    def has_matrix(self, variable: tf.Variable) -> bool:
        """Whether a variable whose moments exist, or what it is a replica's copy of, gets an orthogonal step."""
        try:
            self.get_slot(variable, "v")
        except KeyError:
            return True
        return False

    def _create_slots(self, var_list: list[tf.Variable]) -> None:
        for variable in var_list:
            self.add_slot(variable, "m")
        for variable in var_list:
            if variable.ref() not in self.matrices:
                self.add_slot(variable, "v")

    def _resource_apply_dense(
        self, grad: tf.Tensor, var: tf.Variable, apply_state: Mapping[Any, Any] | None = None
    ) -> tf.Operation:
        if not self.has_matrix(var):
            return super()._resource_apply_dense(grad, var, apply_state)
        place = var.device, var.dtype.base_dtype
        state = (apply_state or {}).get(place) or self._fallback_apply_state(*place)
        rate, kept = state["lr_t"], MOMENTUM
        moment = self.get_slot(var, "m")
        moment = moment.assign(kept * moment + (1.0 - kept) * grad, read_value=True)
        step = orthogonal(kept * moment + (1.0 - kept) * grad)
        size = ADAMW_SIZE * math.sqrt(max(var.shape))
        decay = self.weight_decay_rate or 0.0
        return var.assign(var * (1.0 - rate * decay) - rate * size * step)


@tf.function(jit_compile=True, autograph=False)
def update_size(
    gradient: tf.Tensor, second_moment: tf.Tensor, beta2: tf.Tensor, unbiased: tf.Tensor, epsilon: tf.Tensor
) -> tf.Tensor:
    """The root mean square of a gradient over the root of its second moment, this gradient included; () float32.

    In one pass, by XLA.

    Args:
        gradient: Of any shape.
        second_moment: Of the same shape: the moving average of earlier squares.
        beta2: () how much of it stays.
        unbiased: () by which it is divided, because it began with 0.
        epsilon: () the least root.
    """
    square = tf.square(gradient)
    moment = (beta2 * second_moment + (1.0 - beta2) * square) / unbiased
    return tf.sqrt(tf.reduce_mean(square / tf.maximum(moment, tf.square(epsilon))))


def decays(variable: tf.Variable) -> bool:
    """Whether weight decay applies to a weight: not to biases, and not to the scales and offsets of norms.

    Biases and norms are vectors, except Funnel's three biases a head and the bias of MPNet's attention by distance;
    what is no vector is a matrix or an embedding.
    """
    return variable.shape.rank >= 2 and "bias" not in variable.name


def build_optimizer(
    params: "TrainParams", steps: "TrainingSteps", matrices: Sequence[tf.Variable] = ()
) -> tf.keras.optimizers.Optimizer:
    """The optimizer and the learning-rate schedule of the params; under `mixed_float16`, with a dynamic loss scale.

    Clipping is the training step's: the norm is that of all replicas' and all accumulated gradients together.

    Args:
        params: The settings.
        steps: The steps of the training.
        matrices: Those of the model's layers, which Muon treats apart.
    """
    rate = WarmupAndDecay(
        params.learning_rate,
        steps.steps,
        steps.warmup_steps,
        steps.decay_steps,
        shape="cosine" if params.lr_scheduler_type == "cosine" else params.decay_type,
        floor=1.0 if params.lr_scheduler_type == "constant" else params.min_lr_ratio,
    )
    kinds: dict[str, Callable[..., AdamW]] = {
        "adamw": AdamW,
        "stable_adamw": StableAdamW,
        "muon": functools.partial(Muon, matrices=matrices),
    }
    optimizer = kinds[params.optimizer](
        learning_rate=rate,
        beta_1=params.adam_beta1,
        beta_2=params.adam_beta2,
        epsilon=params.adam_epsilon,
        weight_decay_rate=params.weight_decay,
        decay_all=params.weight_decay_excludes == "nothing",
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
