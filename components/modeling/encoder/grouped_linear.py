"""A product with a matrix for each group of elements, and the choice between it and a product with one matrix.

Iandola et al. 2020, "SqueezeBERT: What can computer vision teach NLP about efficient neural networks?"
(https://arxiv.org/abs/2006.11316).
"""

import tensorflow as tf

from components.modeling.encoder.layers import Linear, Part, as_it_is
from components.modeling.masked_lm import PyTorchWeight


class GroupedLinear(Part):
    """Groups of neighboring elements, each multiplied by a matrix of its own: (..., inputs) to (..., outputs).

    Its weight has the shape that PyTorch's convolution over one token has, (outputs, inputs / groups, 1).

    Args:
        path: PyTorch's name of it.
        inputs: The width of what it is given, a multiple of the groups.
        outputs: Of what it gives, a multiple of the groups.
        groups: How many.
        bias: Whether it has one.
        stddev: Of its new weights.
    """

    def __init__(
        self, path: str, inputs: int, outputs: int, *, groups: int, bias: bool = True, stddev: float = 0.02
    ) -> None:
        super().__init__(path)
        self.inputs, self.outputs, self.groups = inputs, outputs, groups
        initializer = tf.keras.initializers.TruncatedNormal(stddev=stddev)
        self.weight = self.variable("weight", (outputs, inputs // groups, 1), initializer)
        self.bias = self.variable("bias", (outputs,), "zeros") if bias else None

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(..., inputs) to (..., outputs)."""
        shape = (self.groups, self.outputs // self.groups, self.inputs // self.groups)
        matrices = tf.reshape(tf.cast(self.weight, inputs.dtype), shape)
        parts = tf.reshape(inputs, (-1, self.groups, shape[2]))  # (tokens, groups, inputs / groups)
        products = tf.matmul(tf.transpose(parts, (1, 0, 2)), matrices, transpose_b=True)
        products = tf.reshape(tf.transpose(products, (1, 0, 2)), (-1, self.outputs))  # (tokens, outputs)
        if self.bias is not None:
            products = tf.nn.bias_add(products, tf.cast(self.bias, inputs.dtype))
        return tf.reshape(products, tf.concat([tf.shape(inputs)[:-1], [self.outputs]], axis=0))

    def pytorch_weights(self) -> dict[str, PyTorchWeight]:
        """See `Part.pytorch_weights`."""
        weights = {f"{self.path}.weight": PyTorchWeight(self.weight, as_it_is)}
        return weights if self.bias is None else {**weights, f"{self.path}.bias": PyTorchWeight(self.bias, as_it_is)}


def linear(path: str, inputs: int, outputs: int, *, groups: int, bias: bool, stddev: float) -> "Linear | GroupedLinear":
    """A product of a layer, with one matrix or in groups: see `Groups`, where 0 stands for one matrix."""
    if groups:
        return GroupedLinear(path, inputs, outputs, groups=groups, bias=bias, stddev=stddev)
    return Linear(path, inputs, outputs, bias=bias, stddev=stddev)
