"""The decoder of an encoder-decoder as a masked language model (BART: Lewis et al. 2019, https://arxiv.org/abs/1910.13461).

The encoder reads the masked text, and so does the decoder, shifted by one token to the right: its state at a position
answers for the token there, and has seen the whole masked text by way of the encoder, and what stands before the
position by itself. This is what PyTorch's classes compute when they are given `input_ids` alone, as by
`pipeline("fill-mask")`. Training, evaluation and serving have this one form.

Given `labels`, PyTorch's classes shift those instead. Those of a masked language model are -100 wherever nothing is
masked, which becomes padding: the decoder would be trained on padding in the place of the words that it reads later,
and on the true token before a masked one, which nobody has later. So this form isn't there.
"""

import dataclasses

import tensorflow as tf

from components.modeling.architectures.design import Design
from components.modeling.encoder.attention import causal_mask_from
from components.modeling.encoder.decoder_layer import DecoderLayer
from components.modeling.encoder.dropping import Dropping
from components.modeling.encoder.embeddings import Embeddings
from components.modeling.encoder.encoder_layer import Surroundings, norm_of
from components.modeling.encoder.layers import Table
from components.modeling.masked_lm import Inputs


class Decoder(tf.keras.layers.Layer):
    """Reads the tokens shifted to the right, and the encoder's states: (batch, sequence, hidden) of the same.

    Args:
        design: What the decoder is.
        words: The embedding of tokens, which it shares with the encoder.
        first_part: The number of its first part, for dropout: the parts before are the encoder's.
    """

    def __init__(self, design: Design, words: Table, first_part: int) -> None:
        super().__init__(name="decoder", autocast=False)
        self.design, self.first_part = design, first_part
        self.embeddings = Embeddings(design, words)
        self.layers_of_decoder = [DecoderLayer(design, number) for number in range(design.layers)]
        final_norm = design.names.final_norm
        self.final_norm = norm_of(design, design.names.below_model(final_norm)) if final_norm else None

    def call(
        self,
        inputs: Inputs,
        memory: tf.Tensor,
        words: tf.Tensor,
        around: Surroundings,
        *,
        dropout_key: tf.Tensor | None = None,
        recomputed: bool = False,
    ) -> tf.Tensor:
        """(batch, sequence, hidden), in the dtype that the model computes in.

        Args:
            inputs: What the encoder read.
            memory: Its states, (batch, sequence, hidden).
            words: The embedding of tokens, (vocabulary, hidden) float32.
            around: The encoder's surroundings.
            dropout_key: As for `MaskedLM.logits_at`.
            recomputed: As for `MaskedLM.logits_at`.
        """
        begins = begins_of_documents(around)
        ids = shifted_right(
            tf.cast(inputs["input_ids"], tf.int32), begins, self.design.start_token_id, self.design.pad_token_id
        )
        dropping = Dropping(dropout_key, self.first_part)
        states = self.embeddings({**inputs, "input_ids": ids}, words, dropping, around.fused)
        causal = causal_mask_from(around.document_ids, apart=around.apart)
        here = dataclasses.replace(around, mask=causal, memory_mask=around.mask)
        for number, layer in enumerate(self.layers_of_decoder, self.first_part + 1):

            def through(
                states: tf.Tensor, memory: tf.Tensor, layer: DecoderLayer = layer, number: int = number
            ) -> tf.Tensor:
                return layer(states, memory, here, Dropping(dropout_key, number))

            # The encoder's states are an argument, since what is computed again has gradients of its arguments alone.
            states = (tf.recompute_grad(through) if recomputed else through)(states, memory)
        return states if self.final_norm is None else self.final_norm(states, around.fused)


def begins_of_documents(around: Surroundings) -> tf.Tensor:
    """Whether a place is the first of a document, (batch, sequence) bool; a row is one where none are kept apart."""
    ids = around.document_ids
    documents = ids if around.apart else tf.zeros_like(ids)
    return documents != tf.pad(documents[:, :-1], [[0, 0], [1, 0]], constant_values=-1)


def shifted_right(ids: tf.Tensor, begins: tf.Tensor, start: int | None, padding: int) -> tf.Tensor:
    """The tokens one place to the right, so that at each place stands the token before it.

    Args:
        ids: (batch, sequence) int32.
        begins: Whether a place is the first of a document, (batch, sequence) bool.
        start: The token at such a place; None for the document's last token, as mBART has a language there.
        padding: The padding token's id, which is no document's last token.

    Returns:
        (batch, sequence) int32.
    """
    first = last_tokens(ids, begins, padding) if start is None else tf.fill(tf.shape(ids), start)
    return tf.where(begins, first, tf.pad(ids[:, :-1], [[0, 0], [1, 0]]))


def last_tokens(ids: tf.Tensor, begins: tf.Tensor, padding: int) -> tf.Tensor:
    """At each place the last token of its document that isn't padding, (batch, sequence) int32.

    Args:
        ids: (batch, sequence) int32.
        begins: Whether a place is the first of a document, (batch, sequence) bool.
        padding: The padding token's id. Padding is counted as standing at the end.
    """
    flat, size = tf.reshape(ids, [-1]), tf.size(ids)
    documents = tf.cumsum(tf.cast(tf.reshape(begins, [-1]), tf.int32)) - 1  # (batch * sequence,), counted from 0
    tokens = tf.math.unsorted_segment_sum(tf.cast(flat != padding, tf.int32), documents, size)
    firsts = tf.math.unsorted_segment_min(tf.range(size), documents, size)
    places = tf.gather(firsts + tf.maximum(tokens - 1, 0), documents)  # (batch * sequence,)
    return tf.reshape(tf.gather(flat, places), tf.shape(ids))
