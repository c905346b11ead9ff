"""The configurations' classes: transformers', and ours of architectures that only transformers 5 has a class for."""

import functools
from typing import TYPE_CHECKING, Any

from components.modeling.architectures.architecture import Architecture
from components.modeling.architectures.records import ARCHITECTURES

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@functools.cache
def config_class(model_type: str) -> "type[PretrainedConfig]":
    """The class of an architecture's configuration.

    Args:
        model_type: One of `ARCHITECTURES`.
    """
    from transformers import CONFIG_MAPPING, PretrainedConfig

    later = ARCHITECTURES[model_type].later_configuration
    if later is None:
        return CONFIG_MAPPING[model_type]

    def __init__(self: PretrainedConfig, **values: Any) -> None:
        PretrainedConfig.__init__(self, **{**later.defaults, **values})

    return type(f"{model_type}_config", (PretrainedConfig,), {"model_type": model_type, "__init__": __init__})


def record_of_written(model_type: Any) -> Architecture | None:
    """The record of an architecture that transformers 4 has no configuration for; None for any other.

    Args:
        model_type: What it says.
    """
    for record in ARCHITECTURES.values():
        later = record.later_configuration
        if later is not None and model_type in (record.model_type, *later.other_types):
            return record
    return None
