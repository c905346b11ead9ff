"""A masked language model with random weights, of our own encoder or of transformers' TensorFlow classes."""

from typing import TYPE_CHECKING

from components.modeling.architectures.records import architecture_of
from components.modeling.configuration import masked_lm_class

if TYPE_CHECKING:
    from transformers import PretrainedConfig, TFPreTrainedModel


def has_design(config: "PretrainedConfig") -> bool:
    """Whether the architecture is one of our own encoder."""
    return architecture_of(config).design is not None


def new_masked_lm(config: "PretrainedConfig") -> "TFPreTrainedModel":
    """A model with random weights, built.

    Args:
        config: Of any architecture that has a record.

    Raises:
        ModelError: If our own encoder doesn't know one of its options.
    """
    from components.modeling.library.rotary import with_fixed_rotary

    if has_design(config):
        from components.modeling.encoder.building import new_encoder

        return new_encoder(config)
    model = masked_lm_class(config.model_type)(config)
    model.build_in_name_scope()
    return with_fixed_rotary(model)
