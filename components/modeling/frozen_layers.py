"""Which weights stay as they are where a model's lowest layers are frozen.

Frozen are the embeddings and all else that the lowest layers compute with, so that what these give for a text stays the
same, bit for bit. An output layer that shares the embeddings' matrix is frozen with them; the rest of the head, and
what follows the layers, such as a decoder, is trained.
"""

import re
from typing import TYPE_CHECKING

from components.modeling.architectures.records import architecture_of
from foundation.errors import ConfigError

if TYPE_CHECKING:
    import tensorflow as tf
    from transformers import PretrainedConfig, TFPreTrainedModel


def require_layers(config: "PretrainedConfig", frozen: int) -> None:
    """Refuses to freeze layers that a model doesn't have, or can't have frozen apart from the others.

    Raises:
        ConfigError: If so.
    """
    if not frozen:
        return
    record = architecture_of(config)
    reason = record.why_not_frozen(config)
    if reason is not None:
        raise ConfigError(
            "with train.layer_freezing, the architecture must be one whose layers have weights of their own",
            received=f"{config.model_type} (train.pretrained or train.model_type): {reason}",
            remedy="leave out --train.layer_freezing, or train another architecture",
        )
    layers = record.layers(config)
    if frozen > layers:
        raise ConfigError(
            "train.layer_freezing must be at most the number of the model's layers",
            received=f"{frozen}, and this {config.model_type} has {layers}",
            remedy=f"set --train.layer_freezing to a number from 0 to {layers}",
        )


def trained_weights(model: "TFPreTrainedModel", frozen: int) -> "list[tf.Variable]":
    """The weights that are trained where the lowest layers are frozen, in the model's order.

    Args:
        model: Any of transformers' TensorFlow masked LMs, built.
        frozen: How many layers, with the embeddings; 0 for nothing at all.
    """
    from components.modeling.library.adapter import as_masked_lm

    variables = list(model.trainable_variables)
    if not frozen:
        return variables
    record = architecture_of(model.config)
    weights = as_masked_lm(model).weight_map()
    layer_name, after_layers = record.names_of_layers(model.config)
    found = ((name, re.search(layer_name, name)) for name in weights)
    places = {name: tuple(map(int, place.groups())) for name, place in found if place}
    lowest = sorted(set(places.values()))[:frozen]

    def is_trained(name: str) -> bool:
        if not name.startswith(f"{model.base_model_prefix}.") or name.startswith(after_layers):
            return True
        return name in places and places[name] not in lowest

    trained = {weight.variable.ref() for name, weight in weights.items() if is_trained(name)}
    return [variable for variable in variables if variable.ref() in trained]
