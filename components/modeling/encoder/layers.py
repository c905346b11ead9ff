"""What the encoder is made of, each with PyTorch's name of its weights.

Weights are float32. What is computed with them is in the dtype of what a layer is given, so that mixed precision begins
at the embeddings: but for the inside of norms, which is float32.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from components.modeling.encoder.fused_norm import fused_norm
from components.modeling.masked_lm import PyTorchWeight


def as_it_is(array: np.ndarray) -> np.ndarray:
    """The layout of a weight that is the same in PyTorch."""
    return array


class Part(tf.keras.layers.Layer):
    """A layer that makes its weights when it is made, and knows what PyTorch calls them.

    Args:
        path: PyTorch's name of it.

    Attributes:
        path: The same.
    """

    def __init__(self, path: str) -> None:
        super().__init__(name=path, autocast=False)
        self.path = path
        self.built = True

    def variable(self, name: str, shape: tuple[int, ...], initializer: Any, *, trained: bool = True) -> tf.Variable:
        """A new weight of this layer, float32."""
        name, how = f"{self.path}.{name}", {"trainable": trained, "experimental_autocast": False}
        return self.add_weight(name, shape, tf.float32, initializer=initializer, **how)

    def pytorch_weights(self) -> dict[str, PyTorchWeight]:
        """This layer's own weights by PyTorch's names. Each layout is its own inverse."""
        raise NotImplementedError


class Linear(Part):
    """A product with a matrix, and a bias where it has one: (..., inputs) to (..., outputs).

    Args:
        path: PyTorch's name of it.
        inputs: The width of what it is given.
        outputs: Of what it gives.
        bias: Whether it has one.
        stddev: Of its new weights.
    """

    def __init__(self, path: str, inputs: int, outputs: int, *, bias: bool = True, stddev: float = 0.02) -> None:
        super().__init__(path)
        self.inputs, self.outputs = inputs, outputs
        initializer = tf.keras.initializers.TruncatedNormal(stddev=stddev)
        self.weight = self.variable("weight", (inputs, outputs), initializer)
        self.bias = self.variable("bias", (outputs,), "zeros") if bias else None

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(..., inputs) to (..., outputs)."""
        # One matrix product; of more than two dimensions TensorFlow makes one for each row.
        products = tf.matmul(tf.reshape(inputs, (-1, self.inputs)), tf.cast(self.weight, inputs.dtype))
        if self.bias is not None:
            products = tf.nn.bias_add(products, tf.cast(self.bias, inputs.dtype))
        return tf.reshape(products, tf.concat([tf.shape(inputs)[:-1], [self.outputs]], axis=0))

    def pytorch_weights(self) -> dict[str, PyTorchWeight]:
        """See `Part.pytorch_weights`: a matrix is (outputs, inputs) there."""
        weights = {f"{self.path}.weight": PyTorchWeight(self.weight, np.transpose)}
        return weights if self.bias is None else {**weights, f"{self.path}.bias": PyTorchWeight(self.bias, as_it_is)}


class Table(Part):
    """Rows by number: an embedding.

    Args:
        path: PyTorch's name of it.
        rows: How many.
        size: The width of one.
        stddev: Of its new weights.
    """

    def __init__(self, path: str, rows: int, size: int, stddev: float = 0.02) -> None:
        super().__init__(path)
        initializer = tf.keras.initializers.TruncatedNormal(stddev=stddev)
        self.weight = self.variable("weight", (rows, size), initializer)

    def call(self, numbers: tf.Tensor, read: tf.Tensor | None = None) -> tf.Tensor:
        """The rows with these numbers (...,): (..., size) float32.

        Args:
            numbers: Any shape, integers.
            read: The whole table, where it is read anyway. TensorFlow copies a variable that is looked up by rows for
                every other read of it.
        """
        return tf.gather(self.weight if read is None else read, numbers)

    def pytorch_weights(self) -> dict[str, PyTorchWeight]:
        """See `Part.pytorch_weights`."""
        return {f"{self.path}.weight": PyTorchWeight(self.weight, as_it_is)}


class Norm(Part):
    """Brings each token's state to one scale: (..., size) of the same, computed in float32.

    Args:
        path: PyTorch's name of it.
        size: The width of a state.
        epsilon: Added to the variance.
        centered: Whether the mean is subtracted: LayerNorm, else the root mean square's norm.
        bias: Whether it has an offset.
    """

    def __init__(self, path: str, size: int, epsilon: float, *, centered: bool = True, bias: bool = True) -> None:
        super().__init__(path)
        self.epsilon, self.centered = epsilon, centered
        self.weight = self.variable("weight", (size,), "ones")
        self.bias = self.variable("bias", (size,), "zeros") if bias else None

    def call(self, inputs: tf.Tensor, fused: bool = False) -> tf.Tensor:
        """(..., size) of the same, in the same dtype; compiled, where small kernels are."""
        if fused:
            bias = None if self.bias is None else tf.convert_to_tensor(self.bias)
            weight = tf.convert_to_tensor(self.weight)
            return fused_norm(inputs, weight, bias, self.epsilon, centered=self.centered)
        wide = tf.cast(inputs, tf.float32)
        if self.centered:
            wide -= tf.reduce_mean(wide, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(wide), axis=-1, keepdims=True)
        outputs = wide * tf.math.rsqrt(variance + self.epsilon) * self.weight
        return tf.cast(outputs if self.bias is None else outputs + self.bias, inputs.dtype)

    def pytorch_weights(self) -> dict[str, PyTorchWeight]:
        """See `Part.pytorch_weights`."""
        weights = {f"{self.path}.weight": PyTorchWeight(self.weight, as_it_is)}
        return weights if self.bias is None else {**weights, f"{self.path}.bias": PyTorchWeight(self.bias, as_it_is)}


class FixedBias(Part):
    """A bias that is loaded and saved, but not trained, as PyTorch keeps it in a buffer: (..., size) of the same.

    Args:
        path: PyTorch's name of it, whole.
        size: The width.
    """

    def __init__(self, path: str, size: int) -> None:
        super().__init__(path)
        self.bias = self.variable("bias", (1, size), "zeros", trained=False)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(..., size) of the same."""
        return inputs + tf.cast(self.bias[0], inputs.dtype)

    def pytorch_weights(self) -> dict[str, PyTorchWeight]:
        """See `Part.pytorch_weights`."""
        return {self.path: PyTorchWeight(self.bias, as_it_is)}


class Bias(Part):
    """A bias with a name of its own, such as that of the logits: (..., size) of the same.

    Args:
        path: PyTorch's name of it, whole.
        size: The width.
    """

    def __init__(self, path: str, size: int) -> None:
        super().__init__(path.removesuffix(".bias"))
        self.bias = self.variable("bias", (size,), "zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(..., size) of the same."""
        return inputs + tf.cast(self.bias, inputs.dtype)

    def pytorch_weights(self) -> dict[str, PyTorchWeight]:
        """See `Part.pytorch_weights`."""
        return {f"{self.path}.bias": PyTorchWeight(self.bias, as_it_is)}
