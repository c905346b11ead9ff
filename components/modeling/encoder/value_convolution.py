"""A convolution over the values of neighboring tokens, which is added to what attention gives.

Xiong et al. 2021, "Nyströmformer: A Nyström-Based Algorithm for Approximating Self-Attention"
(https://arxiv.org/abs/2102.03902), has it as its skip connection.
"""

import tensorflow as tf

from components.modeling.encoder.layers import Part, as_it_is
from components.modeling.masked_lm import PyTorchWeight


class ValueConvolution(Part):
    """A kernel for each head, the same for all of its elements: (batch, heads, sequence, size) of the same.

    Its weight has the shape that PyTorch's convolution has, (heads, 1, width, 1).

    Args:
        path: PyTorch's name of it.
        heads: Of the attention.
        width: Tokens that a kernel reaches over, an odd number; zeros stand for those beyond the ends.
        stddev: Of its new weights.
    """

    def __init__(self, path: str, heads: int, width: int, stddev: float) -> None:
        super().__init__(path)
        initializer = tf.keras.initializers.TruncatedNormal(stddev=stddev)
        self.weight = self.variable("weight", (heads, 1, width, 1), initializer)

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """(batch, heads, sequence, size) of the same."""
        kernels = tf.transpose(tf.cast(self.weight, values.dtype), (2, 3, 0, 1))  # (width, 1, heads, 1)
        images = tf.transpose(values, (0, 2, 3, 1))  # (batch, sequence, size, heads)
        convolved = tf.nn.depthwise_conv2d(images, kernels, strides=(1, 1, 1, 1), padding="SAME")
        return tf.transpose(convolved, (0, 3, 1, 2))

    def pytorch_weights(self) -> dict[str, PyTorchWeight]:
        """See `Part.pytorch_weights`."""
        return {f"{self.path}.weight": PyTorchWeight(self.weight, as_it_is)}
