"""A Perceiver's layer: states ask others, or each other, and go through a feed-forward network."""

import functools

import numpy as np
import tensorflow as tf

from components.modeling.architectures.perceiver_design import PerceiverDesign, PerceiverLayerDesign
from components.modeling.encoder.activations import activation_of
from components.modeling.encoder.attention import attention
from components.modeling.encoder.dropping import Dropping
from components.modeling.encoder.layers import Linear, Norm, Table
from components.modeling.masked_lm import PyTorchWeight


class States(Table):
    """States that the model learns, by number: PyTorch has them as a parameter of this very name."""

    def pytorch_weights(self) -> dict[str, PyTorchWeight]:
        """See `Part.pytorch_weights`."""
        return {self.path: PyTorchWeight(self.weight, np.asarray)}


class PerceiverLayer(tf.keras.layers.Layer):
    """Attention, then a feed-forward network: (batch or 1, states, width) to (batch, states, width).

    Args:
        design: What the Perceiver is.
        layer: What this layer is.
        number: Of several such layers, from 0.
    """

    def __init__(self, design: PerceiverDesign, layer: PerceiverLayerDesign, number: int = 0) -> None:
        super().__init__(name=layer.name.replace("{}", str(number)).replace(".", "_"), autocast=False)
        self.design, self.layer = design, layer
        names, path = design.names, design.names.below_model(layer.name.format(number))
        dense = functools.partial(Linear, stddev=design.initializer_range)
        norm = functools.partial(Norm, epsilon=design.norm_epsilon)
        read = layer.read or layer.width
        self.asking_norm = norm(f"{path}.{names.attention_norm}", layer.width)
        self.read_norm = norm(f"{path}.attention.self.layernorm2", read) if layer.read else None
        self.query = dense(f"{path}.{names.query}", layer.width, layer.keys)
        self.key = dense(f"{path}.{names.key}", read, layer.keys)
        self.value = dense(f"{path}.{names.value}", read, layer.values)
        self.attention_output = dense(f"{path}.{names.attention_output}", layer.values, layer.width)
        self.inner_norm = norm(f"{path}.{names.inner_norm}", layer.width)
        self.inner = dense(f"{path}.{names.inner}", layer.width, layer.inner)
        self.inner_output = dense(f"{path}.{names.inner_output}", layer.inner, layer.width)

    def call(
        self,
        states: tf.Tensor,
        dropping: Dropping,
        *,
        read: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
        fused: bool = False,
    ) -> tf.Tensor:
        """What the states become: (batch, states, width).

        Args:
            states: (batch, states, width) of those that ask; a batch of 1 asks the same of all rows.
            dropping: Of this layer.
            read: (batch, sequence, width) of those that are read; None for themselves.
            mask: What is added to the scores, as of `mask_from`; None where all are seen.
            fused: Whether small kernels are compiled.
        """
        asking = self.asking_norm(states, fused)
        read = asking if read is None or self.read_norm is None else self.read_norm(read, fused)
        rate = self.design.attention_dropout
        context = attention(
            self.heads(self.query(asking), self.layer.keys),
            self.heads(self.key(read), self.layer.keys),
            self.heads(self.value(read), self.layer.values),
            tf.constant(0.0) if mask is None else mask,
            dropout=functools.partial(dropping, rate=rate) if rate and dropping.key is not None else None,
        )
        batch, count = tf.shape(context)[0], tf.shape(context)[2]
        attended = self.attention_output(
            tf.reshape(tf.transpose(context, (0, 2, 1, 3)), (batch, count, self.layer.values))
        )
        if self.layer.adds_queries:
            attended += states
        activation = activation_of(self.design.activation, fused=fused)
        return attended + self.inner_output(activation(self.inner(self.inner_norm(attended, fused))))

    def heads(self, vectors: tf.Tensor, width: int) -> tf.Tensor:
        """(batch, states, width) to (batch, heads, states, width / heads)."""
        batch, count = tf.unstack(tf.shape(vectors)[:2])
        heads = self.layer.heads
        return tf.transpose(tf.reshape(vectors, (batch, count, heads, width // heads)), (0, 2, 1, 3))
