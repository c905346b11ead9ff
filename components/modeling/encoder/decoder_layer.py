"""One layer of a decoder: attention to what comes before, attention to the encoder's states, feed-forward network."""

import dataclasses

import tensorflow as tf

from components.modeling.architectures.design import Design
from components.modeling.encoder.dropping import Dropping
from components.modeling.encoder.encoder_layer import Attention, FeedForward, Surroundings, norm_of


def cross_attention(design: Design, number: int) -> Attention:
    """A decoder layer's attention to the encoder's states.

    Args:
        design: What the decoder is.
        number: The layer's, from 0.
    """
    names = design.names
    here = dataclasses.replace(
        names,
        query=names.cross_query,
        key=names.cross_key,
        value=names.cross_value,
        attention_output=names.cross_output,
    )
    return Attention(dataclasses.replace(design, names=here), number)


class DecoderLayer(tf.keras.layers.Layer):
    """Both attentions, then the feed-forward network, each added to what it was given.

    Vaswani et al. 2017, "Attention Is All You Need" (https://arxiv.org/abs/1706.03762).

    Args:
        design: What the decoder is.
        number: The layer's, from 0.
    """

    def __init__(self, design: Design, number: int) -> None:
        super().__init__(name=f"decoder_layer_{number}", autocast=False)
        self.norm_first = design.norm_first
        names = design.names
        self.attention = Attention(design, number)
        self.attention_norm = norm_of(design, names.in_layer(number, names.attention_norm))
        self.cross_attention = cross_attention(design, number)
        self.cross_norm = norm_of(design, names.in_layer(number, names.cross_norm))
        self.feed_forward = FeedForward(design, number)
        self.inner_norm = norm_of(design, names.in_layer(number, names.inner_norm))

    def call(self, states: tf.Tensor, memory: tf.Tensor, around: Surroundings, dropping: Dropping) -> tf.Tensor:
        """(batch, sequence, hidden) of the same.

        Args:
            states: (batch, sequence, hidden).
            memory: The encoder's states, of the same shape.
            around: The decoder's surroundings.
            dropping: Of the layer.
        """
        fused = around.fused
        if self.norm_first:
            states += self.attention(self.attention_norm(states, fused), around, dropping)
            states += self.cross_attention(self.cross_norm(states, fused), around, dropping, memory)
            return states + self.feed_forward(self.inner_norm(states, fused), around, dropping)
        states = self.attention_norm(states + self.attention(states, around, dropping), fused)
        states = self.cross_norm(states + self.cross_attention(states, around, dropping, memory), fused)
        return self.inner_norm(states + self.feed_forward(states, around, dropping), fused)
