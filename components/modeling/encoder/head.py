"""From states to the logits of the vocabulary."""

import functools

import tensorflow as tf

from components.modeling.architectures.design import Design
from components.modeling.encoder.activations import activation_of
from components.modeling.encoder.encoder_layer import norm_of
from components.modeling.encoder.layers import Bias, FixedBias, Linear


class Head(tf.keras.layers.Layer):
    """The language-model head: (..., hidden) to (..., vocabulary).

    Args:
        design: What the encoder is.
    """

    def __init__(self, design: Design) -> None:
        super().__init__(name="head", autocast=False)
        self.design = design
        names, width, stddev = design.names, design.hidden, design.output_initializer_range
        dense = functools.partial(Linear, stddev=stddev)
        has_bias, rows = design.head_transform_bias, design.vocabulary
        self.transform = dense(names.head, width, width, bias=has_bias) if design.head_transform else None
        self.norm = norm_of(design, names.head_norm) if design.head_transform else None
        self.matrix = None if design.tied else dense(names.head_output, width, rows, bias=False)
        self.bias = Bias(names.head_bias, rows) if design.head_bias else None
        self.fixed_bias = FixedBias(names.fixed_head_bias, rows) if names.fixed_head_bias else None

    def call(self, states: tf.Tensor, words: tf.Tensor, fused: bool = False) -> tf.Tensor:
        """The logits, (..., vocabulary), in the dtype of the states.

        Args:
            states: (..., hidden).
            words: The embedding of tokens, (vocabulary, hidden) float32.
            fused: Whether small kernels are compiled.
        """
        if self.transform is not None and self.norm is not None:
            activation = activation_of(self.design.head_activation, fused=fused)
            states = self.norm(activation(self.transform(states)), fused)
        if self.matrix is not None:
            logits = self.matrix(states)
        else:
            flat = tf.reshape(states, (-1, self.design.hidden))
            logits = tf.matmul(flat, tf.cast(words, states.dtype), transpose_b=True)
            shape = tf.concat([tf.shape(states)[:-1], [self.design.vocabulary]], axis=0)
            logits = tf.reshape(logits, shape)
        logits = logits if self.bias is None else self.bias(logits)
        return logits if self.fixed_bias is None else self.fixed_bias(logits)
