"""The encoder as a masked language model: of any design, natively what this project asks of one."""

import numpy as np
import tensorflow as tf
from transformers import PretrainedConfig

from components.modeling.architectures.design import Design
from components.modeling.document_positions import positions_within_documents
from components.modeling.encoder.attention import mask_from
from components.modeling.encoder.decoder import Decoder
from components.modeling.encoder.dropping import Dropping
from components.modeling.encoder.embeddings import Embeddings
from components.modeling.encoder.encoder_layer import EncoderLayer, Surroundings, norm_of
from components.modeling.encoder.exact_length import padded_to
from components.modeling.encoder.head import Head
from components.modeling.encoder.language_adapters import by_language
from components.modeling.encoder.layers import Table
from components.modeling.encoder.native import NativeMaskedLM
from components.modeling.encoder.relations import functional_relations
from components.modeling.encoder.rotary import angles_of
from components.modeling.masked_lm import Inputs


class EncoderForMaskedLM(NativeMaskedLM):
    """A masked language model of any design: a `MaskedLM` by itself, and a Keras model to call, train and save.

    Example:
        model = EncoderForMaskedLM(config, design)
        logits = model(input_ids=ids, attention_mask=mask).logits  # (batch, sequence, vocabulary)

    Args:
        config: The configuration, which is saved with the model.
        design: What that says.
    """

    design: Design

    def __init__(self, config: PretrainedConfig, design: Design) -> None:
        super().__init__(config, design)
        self.takes = (
            "input_ids",
            "attention_mask",
            *(("position_ids",) if design.has_table_of_positions else ()),
            *(("token_type_ids",) if design.types else ()),
        )
        self.embeddings = Embeddings(design)
        self.layers_of_encoder = [EncoderLayer(design, number) for number in range(design.layers)]
        final_norm = design.names.final_norm
        self.final_norm = (
            norm_of(design, design.names.below_model(final_norm), bias=design.final_norm_bias) if final_norm else None
        )
        self.decoder = None
        if design.decoder is not None:
            self.decoder = Decoder(design.decoder, self.embeddings.words, first_part=1 + design.layers)
        self.lm_head = Head(design)
        self.languages = () if design.adapters is None else design.adapters.languages
        self._are_apart = False
        self.built = True

    @property
    def words(self) -> Table:
        """The embedding of tokens."""
        return self.embeddings.words

    @tf.autograph.experimental.do_not_convert
    def hidden(self, inputs: Inputs) -> tf.Tensor:
        """What the head is given: see `MaskedLM.hidden`."""
        words = tf.convert_to_tensor(self.words.weight)
        if "language_ids" not in inputs:
            return self.encoded(inputs, words)
        rows = {name: value for name, value in inputs.items() if name != "language_ids"}
        width = self.design.hidden

        def of_one(language: tf.Tensor, rows: Inputs) -> tf.Tensor:
            return self.encoded(rows, words, language=language)

        return by_language(of_one, rows, inputs["language_ids"], width, tf.as_dtype(self.compute_dtype))

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
        states = self.encoded(inputs, words, dropout_key=dropout_key, recomputed=recomputed, fused=fused)
        return states if positions is None else tf.gather(states, positions, batch_dims=1)

    def encoded(
        self,
        inputs: Inputs,
        words: tf.Tensor,
        *,
        dropout_key: tf.Tensor | None = None,
        recomputed: bool = False,
        fused: bool = False,
        language: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """What the head is given.

        Args:
            inputs: As for `logits_at`.
            words: The embedding of tokens, (vocabulary, hidden) float32.
            dropout_key: As for `logits_at`.
            recomputed: As for `logits_at`.
            fused: As for `logits_at`.
            language: () int32, the number of all rows' language in `languages`; None for the design's.

        Returns:
            (batch, sequence, hidden), in the dtype that the model computes in.
        """
        length = tf.shape(inputs["input_ids"])[1]
        if self.design.landmarks is not None:
            inputs = padded_to(self.design.landmarks.length, inputs, pad_token_id=self.design.pad_token_id)
        around = self.surroundings(inputs, fused, language)
        states = self.embeddings(inputs, words, Dropping(dropout_key, 0), fused)
        for number, layer in enumerate(self.layers_of_encoder, 1):

            def through(states: tf.Tensor, layer: EncoderLayer = layer, number: int = number) -> tf.Tensor:
                return layer(states, around, Dropping(dropout_key, number))

            # Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost" (https://arxiv.org/abs/1604.06174).
            states = (tf.recompute_grad(through) if recomputed else through)(states)
        states = states[:, :length] if self.design.landmarks is not None else states
        states = states if self.final_norm is None else self.final_norm(states, fused)
        if self.decoder is None:
            return states
        return self.decoder(inputs, states, words, around, dropout_key=dropout_key, recomputed=recomputed)

    def surroundings(self, inputs: Inputs, fused: bool, language: tf.Tensor | None = None) -> Surroundings:
        """What all layers need to know of a batch."""
        design = self.design
        ids = inputs["input_ids"]
        numbers = inputs.get("attention_mask")
        numbers = tf.ones_like(ids) if numbers is None else tf.cast(numbers, tf.int32)
        numbers = numbers if self._are_apart else tf.cast(numbers > 0, tf.int32)
        length = ids.shape[1] or tf.shape(ids)[1]
        angles = None
        if design.positions == "rotary":
            of_each = {rotation: angles_of(rotation, length) for rotation in dict.fromkeys(design.rotations)}
            angles = tuple(of_each[rotation] for rotation in design.rotations)
        relations = None
        if design.positions == "functional":
            relations = functional_relations(length, design.furthest, design.head_size, tf.as_dtype(self.compute_dtype))
        mask = mask_from(numbers, apart=self._are_apart)
        return Surroundings(
            numbers, mask, self._are_apart, angles=angles, relations=relations, fused=fused, language=language
        )

    def keep_documents_apart(self) -> None:
        """Lets `attention_mask` number documents from here on: see `MaskedLM.keep_documents_apart`."""
        self._are_apart = True

    def position_ids(self, document_ids: np.ndarray) -> np.ndarray | None:
        """Positions that begin anew with each document: see `MaskedLM.position_ids`."""
        if not self.design.has_table_of_positions:
            return None
        return positions_within_documents(document_ids, self.design.first_position)
