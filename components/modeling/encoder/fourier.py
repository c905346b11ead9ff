"""Tokens mixed by a Fourier transform in place of attention: nothing is learned, and no token is left out.

Lee-Thorp et al. 2021, "FNet: Mixing Tokens with Fourier Transforms" (https://arxiv.org/abs/2105.03824).
"""

from collections.abc import Callable

import tensorflow as tf

from components.modeling.encoder.dropping import Dropping


class FourierMixing(tf.keras.layers.Layer):
    """The real part of the transform over places and elements: (batch, sequence, hidden) to float32 of that shape.

    The first number is the sum of all that it is given, which float16 doesn't hold.
    """

    def __init__(self) -> None:
        super().__init__(name="fourier", autocast=False)

    def call(self, inputs: tf.Tensor, around: object, dropping: Dropping) -> tf.Tensor:
        """(batch, sequence, hidden) float32. Padding is mixed in as what it is, as in PyTorch."""
        return mixed(tf.cast(inputs, tf.float32))


@tf.custom_gradient
def mixed(states: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The real part of the transform of (batch, sequence, hidden) float32, and what gives its gradient.

    Its matrix is symmetric, so that the gradient is the transform of what comes from above.
    """
    return transformed(states), transformed


def transformed(states: tf.Tensor) -> tf.Tensor:
    """The same, without a gradient of its own."""
    return tf.math.real(tf.signal.fft2d(tf.cast(states, tf.complex64)))
