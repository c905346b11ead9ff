"""Activations by transformers' names, as PyTorch computes them."""

from collections.abc import Callable

import tensorflow as tf

from components.modeling.library.fused_gelu import gelu as gelu_in_one_pass

Activation = Callable[[tf.Tensor], tf.Tensor]


def activation_of(name: str, *, fused: bool = False) -> Activation:
    """An activation: a function of a tensor of any shape that gives one of the same shape and dtype.

    Args:
        name: One of `ACTIVATIONS`.
        fused: Whether the exact GELU is compiled, which is worth it where there are many calls.
    """
    if fused and name in EXACT_GELU:
        return gelu_in_one_pass
    return BY_NAME[name]


def gelu(values: tf.Tensor) -> tf.Tensor:
    """X Φ(x) (Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415)."""
    return tf.nn.gelu(values)


def gelu_by_tanh(values: tf.Tensor) -> tf.Tensor:
    """The same, with Φ by a hyperbolic tangent."""
    return tf.nn.gelu(values, approximate=True)


def quick_gelu(values: tf.Tensor) -> tf.Tensor:
    """The same, with Φ by a logistic function."""
    return values * tf.sigmoid(1.702 * values)


def mish(values: tf.Tensor) -> tf.Tensor:
    """X tanh(softplus(x)) (Misra 2019, https://arxiv.org/abs/1908.08681)."""
    return values * tf.tanh(tf.nn.softplus(values))


def squared_relu(values: tf.Tensor) -> tf.Tensor:
    """max(x, 0)² (So et al. 2021, https://arxiv.org/abs/2109.08668)."""
    return tf.square(tf.nn.relu(values))


EXACT_GELU = ("gelu", "gelu_python")
BY_NAME: dict[str, Activation] = {
    **dict.fromkeys(EXACT_GELU, gelu),
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate"), gelu_by_tanh),
    "quick_gelu": quick_gelu,
    "relu": tf.nn.relu,
    **dict.fromkeys(("silu", "swish"), tf.nn.silu),
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "mish": mish,
    "relu2": squared_relu,
    "linear": tf.identity,
}
