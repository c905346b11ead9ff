"""The Perceiver as a masked language model of text."""

import numpy as np
import tensorflow as tf
from transformers import PretrainedConfig

from components.modeling.architectures.perceiver_design import PerceiverDesign
from components.modeling.encoder.attention import mask_from
from components.modeling.encoder.dropping import Dropping
from components.modeling.encoder.layers import Bias, Table
from components.modeling.encoder.native import NativeMaskedLM
from components.modeling.encoder.perceiver.perceiver_layer import PerceiverLayer, States
from components.modeling.masked_lm import Inputs


class EmbeddingDecoder(tf.keras.layers.Layer):
    """The language-model head: the product with the embedding of tokens, and a bias.

    Args:
        design: What the Perceiver is.
    """

    def __init__(self, design: PerceiverDesign) -> None:
        super().__init__(name="embedding_decoder", autocast=False)
        self.design = design
        self.bias = Bias(design.names.head_bias, design.vocabulary)

    def call(self, states: tf.Tensor, words: tf.Tensor, fused: bool = False) -> tf.Tensor:
        """The logits, (..., vocabulary), in the dtype of the states.

        Args:
            states: (..., width).
            words: The embedding of tokens, (vocabulary, width) float32.
            fused: Of no meaning here: there are no small kernels.
        """
        flat = tf.reshape(states, (-1, self.design.width))
        logits = tf.matmul(flat, tf.cast(words, states.dtype), transpose_b=True)
        shape = tf.concat([tf.shape(states)[:-1], [self.design.vocabulary]], axis=0)
        return self.bias(tf.reshape(logits, shape))


class PerceiverForMaskedLM(NativeMaskedLM):
    """A masked language model whose cost in its layers doesn't depend on the length of the text.

    Latent states, which are learned, read the embeddings of the text's bytes, and attend to each other in the layers.
    The logits at a position come of a query for that position, which is learned, too, and reads the latents. PyTorch's
    class answers for all `max_position_embeddings` positions, however short the text; this one for those of the text,
    or for the asked ones alone.

    Jaegle et al. 2021, "Perceiver IO: A General Architecture for Structured Inputs & Outputs"
    (https://arxiv.org/abs/2107.14795).

    Example:
        model = PerceiverForMaskedLM(config, design)
        logits = model(input_ids=ids, attention_mask=mask).logits  # (batch, sequence, vocabulary)

    Args:
        config: The configuration, which is saved with the model.
        design: What that says.
    """

    design: PerceiverDesign

    def __init__(self, config: PretrainedConfig, design: PerceiverDesign) -> None:
        super().__init__(config, design)
        names, stddev = design.names, design.initializer_range
        self.embedding = Table(names.below_model(names.words), design.vocabulary, design.width, stddev)
        self.positions = Table(names.below_model(names.positions), design.positions, design.width, stddev)
        self.latents = States(names.below_model("embeddings.latents"), design.latents, design.hidden, stddev)
        self.reading = PerceiverLayer(design, design.reading)
        self.refining = [PerceiverLayer(design, design.refining, number) for number in range(design.layers)]
        queries = names.below_model("decoder.output_position_encodings.position_embeddings")
        self.queries = States(queries, design.positions, design.width, stddev)
        self.answering = PerceiverLayer(design, design.answering)
        self.lm_head = EmbeddingDecoder(design)
        self.built = True

    @property
    def words(self) -> Table:
        """The embedding of tokens."""
        return self.embedding

    def states(
        self,
        inputs: Inputs,
        words: tf.Tensor,
        positions: tf.Tensor | None = None,
        *,
        dropout_key: tf.Tensor | None = None,
        recomputed: bool = False,
        fused: bool = False,
    ) -> tf.Tensor:
        """What the head is given: see `NativeMaskedLM.states`."""
        ids = inputs["input_ids"]
        length = ids.shape[1] or tf.shape(ids)[1]
        latents = self.latents_of(inputs, words, dropout_key=dropout_key, recomputed=recomputed, fused=fused)
        asked = tf.range(length)[None] if positions is None else positions  # (1 or batch, predictions)
        queries = tf.cast(self.queries(asked), latents.dtype)
        last = self.design.blocks * self.design.layers + 1
        return self.answering(queries, Dropping(dropout_key, last), read=latents, fused=fused)

    def latents_of(
        self,
        inputs: Inputs,
        words: tf.Tensor,
        *,
        dropout_key: tf.Tensor | None = None,
        recomputed: bool = False,
        fused: bool = False,
    ) -> tf.Tensor:
        """The latent states of each row, (batch, latents, hidden): the arguments are those of `states`."""
        ids = inputs["input_ids"]
        given = inputs.get("attention_mask")
        mask = mask_from(tf.ones_like(ids) if given is None else tf.cast(given, tf.int32), apart=False)
        read = self.embedding(ids, words) + self.positions(tf.range(tf.shape(ids)[1]))
        read = tf.cast(read, self.compute_dtype)
        start = tf.cast(tf.convert_to_tensor(self.latents.weight)[None], read.dtype)
        states = self.reading(start, Dropping(dropout_key, 0), read=read, mask=mask, fused=fused)
        for number in range(self.design.blocks * self.design.layers):

            def through(states: tf.Tensor, number: int = number) -> tf.Tensor:
                layer = self.refining[number % self.design.layers]
                return layer(states, Dropping(dropout_key, number + 1), fused=fused)

            # Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost" (https://arxiv.org/abs/1604.06174).
            states = (tf.recompute_grad(through) if recomputed else through)(states)
        return states

    def keep_documents_apart(self) -> None:
        """Refused before: the latents read a whole row."""
        raise NotImplementedError("a Perceiver's latents read the whole block")

    def position_ids(self, document_ids: np.ndarray) -> None:
        """None: it takes no positions, as documents can't be packed."""
