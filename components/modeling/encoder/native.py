"""What the masked language models of our own have in common, whatever is inside."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf
from transformers import PretrainedConfig
from transformers.utils import ModelOutput

from components.modeling.architectures.architecture import AnyDesign
from components.modeling.encoder.layers import Part, Table
from components.modeling.masked_lm import Inputs, PyTorchWeight


@dataclasses.dataclass
class Output(ModelOutput):
    """What the model answers when it is called, in the library's form, which its pipelines expect.

    Attributes:
        logits: (batch, sequence, vocabulary) float32.
    """

    logits: tf.Tensor | None = None


class NativeMaskedLM(tf.keras.Model):
    """A masked language model of our own: a `MaskedLM` by itself, and a Keras model to call, train and save.

    No part of it branches on a tensor, so AutoGraph, which takes longer than tracing does, has no part in it.

    A subclass makes the layers, and says what its head is given (`states`) and what that makes of it (`lm_head`).

    Args:
        config: The configuration, which is saved with the model.
        design: What that says.

    Attributes:
        config: The configuration.
        design: The design.
        takes: The names of the inputs.
        base_model_prefix: PyTorch's name of the model without its head.
        languages: Those that it has adapters for: `hidden` takes each row's as `language_ids`, (batch,) int32.
        kept_weights: Arrays by PyTorch's names that no prediction depends on, and that are saved again.
    """

    takes: tuple[str, ...] = ("input_ids", "attention_mask")
    languages: tuple[str, ...] = ()
    lm_head: tf.keras.layers.Layer

    def __init__(self, config: PretrainedConfig, design: AnyDesign) -> None:
        super().__init__(name="masked_lm")
        self.config = config
        self.design = design
        self.base_model_prefix = design.names.model
        self.kept_weights: Mapping[str, np.ndarray] = MappingProxyType({})

    @property
    def words(self) -> Table:
        """The embedding of tokens."""
        raise NotImplementedError

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
        """What the head is given.

        Args:
            inputs: As for `logits_at`.
            words: The embedding of tokens, (vocabulary, width) float32.
            positions: (batch, predictions) int32, those that are asked for; None for all.
            dropout_key: As for `logits_at`.
            recomputed: As for `logits_at`.
            fused: As for `logits_at`.

        Returns:
            (batch, predictions or sequence, width), in the dtype that the model computes in.
        """
        raise NotImplementedError

    def call(
        self,
        input_ids: Any = None,
        attention_mask: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        training: bool = False,
    ) -> Output:
        """The logits at every position.

        Args:
            input_ids: (batch, sequence) integers; or a dictionary with all inputs.
            attention_mask: (batch, sequence), 0 for padding; None for none.
            position_ids: (batch, sequence), where the model takes them; None for those that follow one another.
            token_type_ids: (batch, sequence), where the model takes them; None for type 0.
            training: Whether there is dropout, of a chance that TensorFlow draws.
        """
        inputs = input_ids if isinstance(input_ids, Mapping) else {"input_ids": input_ids}
        others = {"attention_mask": attention_mask, "position_ids": position_ids, "token_type_ids": token_type_ids}
        given = {**inputs, **{name: value for name, value in others.items() if value is not None}}
        drawn = tf.random.uniform((2,), tf.int32.min, tf.int32.max, tf.int32) if training else None
        key = None if drawn is None else tf.bitcast(drawn, tf.uint32)
        return Output(logits=self._logits({name: tf.cast(value, tf.int32) for name, value in given.items()}, key))

    @tf.autograph.experimental.do_not_convert
    def hidden(self, inputs: Inputs) -> tf.Tensor:
        """What the head is given: see `MaskedLM.hidden`."""
        return self.states(inputs, tf.convert_to_tensor(self.words.weight))

    @tf.autograph.experimental.do_not_convert
    def head(self, hidden: tf.Tensor) -> tf.Tensor:
        """The logits of hidden states: see `MaskedLM.head`."""
        return self.lm_head(hidden, tf.convert_to_tensor(self.words.weight))

    def logits(self, inputs: Inputs) -> tf.Tensor:
        """The logits at every position: see `MaskedLM.logits`."""
        return self._logits(inputs, None)

    @tf.autograph.experimental.do_not_convert
    def _logits(self, inputs: Inputs, dropout_key: tf.Tensor | None) -> tf.Tensor:
        words = tf.convert_to_tensor(self.words.weight)
        return tf.cast(self.lm_head(self.states(inputs, words, dropout_key=dropout_key), words), tf.float32)

    @tf.autograph.experimental.do_not_convert
    def logits_at(
        self,
        inputs: Inputs,
        positions: tf.Tensor,
        *,
        dropout_key: tf.Tensor | None = None,
        recomputed: bool = False,
        fused: bool = False,
    ) -> tf.Tensor:
        """The logits at given positions: see `MaskedLM.logits_at`."""
        words = tf.convert_to_tensor(self.words.weight)
        states = self.states(inputs, words, positions, dropout_key=dropout_key, recomputed=recomputed, fused=fused)
        return tf.cast(self.lm_head(states, words, fused), tf.float32)

    def keep_documents_apart(self) -> None:
        """Lets `attention_mask` number documents from here on: see `MaskedLM.keep_documents_apart`."""
        raise NotImplementedError

    def position_ids(self, document_ids: np.ndarray) -> np.ndarray | None:
        """Positions that begin anew with each document: see `MaskedLM.position_ids`."""
        raise NotImplementedError

    def weight_map(self) -> dict[str, PyTorchWeight]:
        """Every weight by PyTorch's name: see `MaskedLM.weight_map`."""
        parts = [part for part in self.submodules if isinstance(part, Part)]
        return {name: weight for part in parts for name, weight in part.pytorch_weights().items()}
