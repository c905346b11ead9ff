"""The form of a record: everything that this project has to know of an architecture beyond what transformers knows."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from components.modeling.architectures.design import Design
from components.modeling.architectures.later_configuration import LaterConfiguration
from components.modeling.architectures.other_positions import require_no_other_positions
from components.modeling.architectures.perceiver_design import PerceiverDesign

if TYPE_CHECKING:
    from transformers import PretrainedConfig

AnyDesign = Design | PerceiverDesign
"""What a model of our own is; the class says which of our models builds it."""
Condition = Callable[["PretrainedConfig"], str | None]
"""Says for a configuration why something can't be done, as the end of a sentence; None where it can."""


def no_reason(config: "PretrainedConfig") -> str | None:
    """The condition of what every configuration can do."""
    return None


def no_matrix(model: Any) -> Any:
    """The output matrix of its own that a model lacks whose output layer is the embedding of tokens."""
    return None


def from_zero(config: "PretrainedConfig") -> int:
    """The first position of architectures that count positions from 0."""
    return 0


def never(config: "PretrainedConfig") -> bool:
    """What holds for no configuration."""
    return False


def has_table_of_positions(config: "PretrainedConfig") -> bool:
    """Whether positions are looked up in a table of `max_position_embeddings` rows."""
    return True


@dataclasses.dataclass(frozen=True)
class Architecture:
    """All that this project knows of an architecture. The defaults hold for BERT, and for most others.

    Where there is a `design`, the model is our own encoder: positions and PyTorch's names are the design's, and what
    is said below of transformers' classes doesn't count.

    Attributes:
        model_type: transformers' name of it, which `config.json` has.
        tiny: Configuration values of a model that is small enough to test with.
        variants: Values over `tiny` that give a model with weights of other kinds, by a name.
        design: Reads what a model of our own is to be off a configuration, or refuses it by a `ModelError`; None for
            architectures that have a TensorFlow class in transformers. See `AnyDesign`.
        kept_weights: A regular expression that finds PyTorch's names of weights that our own encoder has no part for,
            and that it saves again as they were.
        later_configuration: Its configuration, where transformers 4 has none.
        pytorch_renames: What else files of PyTorch weights may have in the place of a part of our encoder's names, as
            regular expressions.
        language_option: The option of its configuration that names the language that it is used for, where it has parts
            for each language; empty where it has none.
        special_ids: Options of its configuration that name a special token beyond those that most architectures have,
            each with the tokenizer's names of the tokens that a new model takes for it, the first that is there.
        pytorch_class: The class that PyTorch has for what our own encoder writes.
        first_position: The position id of a document's first token. Where it is above 0, the id below it stands for
            padding.
        has_position_limit: Whether a configuration limits the length of a sequence.
        heads_divide_hidden_size: Whether the hidden size must be a multiple of the number of attention heads.
        mask_inside: Which part of its main layer (one layer, or a list of them) takes an attention mask of three
            dimensions, (batch, from, to), and the name of the argument; None where none does.
        why_not_packable: Why packed documents of one block would see each other.
        why_not_in: Why the library's code can't compute in a Keras policy, by its name: `mixed_bfloat16` or
            `mixed_float16`.
        why_not_compiled: Why XLA can't compile a training step.
        why_not_frozen: Why some layers can't be frozen while others are trained.
        layer_name: A regular expression that finds the number of its layer, or the numbers from the outermost in, in
            PyTorch's name of a weight.
        after_layers: Beginnings of PyTorch's names of weights that follow the last layer, but for the head's.
        why_not_exported: Why the model can't be traced for sequences of any length.
        sees_padding: Whether the padding after a text changes what the library's class gives for it.
        branches_on_tensors: Whether the library's code branches on a tensor, so that only AutoGraph can trace it.
        input_embeddings: How PyTorch's name of the embedding of tokens ends.
        output_layer: PyTorch's name of the layer that turns hidden states into logits.
        own_output_matrix: Gives the variable of an output matrix that Keras holds although it is tied; None for none.
        unused_weights: Beginnings of PyTorch's names. Weights with such a name change no prediction, and PyTorch's
            class doesn't have them, so they are left out of its file.
        optional_weights: Beginnings of PyTorch's names of weights that change no prediction as they are in a new model,
            and may be missing.
        pytorch_aliases: Other names in PyTorch's files, each with the name of the weight that it stands for.
        pytorch_layouts: Functions by the end of PyTorch's name: each brings an array into PyTorch's form, where
            transformers' own rules don't.
        pytorch_copies: Names of arrays in PyTorch's file, each with the name of the array that it must equal.
        pytorch_copies_where_untied: Such names that count only where the output matrix isn't the embedding of tokens.
    """

    model_type: str
    tiny: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    design: Callable[["PretrainedConfig"], AnyDesign] | None = None
    kept_weights: str = "$^"
    later_configuration: LaterConfiguration | None = None
    pytorch_renames: Mapping[str, str] = dataclasses.field(default_factory=dict)
    language_option: str = ""
    special_ids: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    pytorch_class: str = ""
    first_position: Callable[["PretrainedConfig"], int] = from_zero
    has_position_limit: Callable[["PretrainedConfig"], bool] = has_table_of_positions
    heads_divide_hidden_size: bool = True
    mask_inside: tuple[str, str] | None = ("encoder", "attention_mask")
    why_not_packable: Condition = no_reason
    why_not_in: Mapping[str, Condition] = dataclasses.field(default_factory=dict)
    why_not_compiled: Condition = no_reason
    why_not_frozen: Condition = no_reason
    layer_name: str = r"\.layer\.(\d+)\."
    after_layers: tuple[str, ...] = ()
    why_not_exported: Condition = no_reason
    sees_padding: Callable[["PretrainedConfig"], bool] = never
    branches_on_tensors: Callable[["PretrainedConfig"], bool] = never
    input_embeddings: str = ".word_embeddings.weight"
    output_layer: str = "cls.predictions.decoder"
    own_output_matrix: Callable[[Any], Any] = no_matrix
    unused_weights: tuple[str, ...] = ()
    optional_weights: tuple[str, ...] = ()
    pytorch_aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pytorch_layouts: Mapping[str, Callable[[np.ndarray], np.ndarray]] = dataclasses.field(default_factory=dict)
    pytorch_copies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pytorch_copies_where_untied: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def design_of(self, config: "PretrainedConfig") -> AnyDesign:
        """What a model of our own is, by its configuration.

        Raises:
            ModelError: If the configuration says something that there is none of here.
        """
        if self.design is None:
            raise ValueError(f"{self.model_type} has no design")
        design = self.design(config)
        is_rotary = isinstance(design, Design) and design.positions == "rotary"
        require_no_other_positions(config, is_rotary=is_rotary)
        return design

    def names_of_layers(self, config: "PretrainedConfig") -> tuple[str, tuple[str, ...]]:
        """What `layer_name` and `after_layers` say of a model."""
        if self.design is None:
            return self.layer_name, self.after_layers
        design = self.design_of(config)
        layer = re.escape(design.names.below_model(design.names.layer)).replace(r"\{\}", r"(\d+)")
        return rf"^{layer}\.", design.after_layers

    def layers(self, config: "PretrainedConfig") -> int:
        """How many layers the model has, with weights of their own: an encoder's, where it has a decoder, too."""
        return int(config.num_hidden_layers) if self.design is None else self.design_of(config).layers

    def hidden_size(self, config: "PretrainedConfig") -> int:
        """The width of a state in the model's layers."""
        return int(config.hidden_size) if self.design is None else self.design_of(config).hidden

    def ignores_padding(self, config: "PretrainedConfig") -> bool:
        """Whether a text may have less padding after it, or none, and the model gives the same for it."""
        return not self.sees_padding(config) if self.design is None else self.design_of(config).ignores_padding

    def longest_sequence(self, config: "PretrainedConfig") -> int | None:
        """The longest sequence that the model takes, in tokens; None where nothing limits it."""
        positions = getattr(config, "max_position_embeddings", None)
        if positions is None or not self.has_position_limit(config):
            return None
        if self.design is None:
            return int(positions) - self.first_position(config)
        return self.design_of(config).longest_sequence(int(positions))


TINY: Mapping[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 36,
    "max_position_embeddings": 64,
}
"""Sizes of a model to test with, by the names that most configurations have."""
UNTIED: Mapping[str, Any] = {"tie_word_embeddings": False}
RELATIVE_ATTENTION: Mapping[str, Any] = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
"""What makes a DeBERTa attend by relative positions; its checkpoints do, the library's defaults don't."""
