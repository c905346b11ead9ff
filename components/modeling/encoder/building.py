"""Our own encoder for a configuration: new, or with the weights of a PyTorch checkpoint."""

import logging
import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from transformers import PretrainedConfig

from components.modeling.architectures.design import Design
from components.modeling.architectures.perceiver_design import PerceiverDesign
from components.modeling.architectures.records import architecture_of
from components.modeling.checkpoint_checks import require_floats_of_shape
from components.modeling.encoder.model import EncoderForMaskedLM
from components.modeling.encoder.native import NativeMaskedLM
from components.modeling.encoder.perceiver.perceiver_model import PerceiverForMaskedLM
from foundation.errors import ModelError

logger = logging.getLogger(__name__)
BUILDS: Mapping[type, type[NativeMaskedLM]] = {Design: EncoderForMaskedLM, PerceiverDesign: PerceiverForMaskedLM}
"""The class that builds a design, by the design's own class."""
SHOWN = 5
"""Names that a message shows."""


def new_encoder(config: PretrainedConfig) -> NativeMaskedLM:
    """A model with random weights.

    Args:
        config: Of an architecture whose record has a design.

    Raises:
        ModelError: If the design doesn't know one of its options.
    """
    design = architecture_of(config).design_of(config)
    return BUILDS[type(design)](config, design)


def load_encoder(
    config: PretrainedConfig, tensors: Mapping[str, np.ndarray], source: str
) -> tuple[NativeMaskedLM, tuple[str, ...]]:
    """A model with the weights of a checkpoint, and the names of those that it lacks.

    What the file holds beyond the model's weights is listed in a warning.

    Args:
        config: Its configuration.
        tensors: Arrays by PyTorch's names, in PyTorch's layout.
        source: What messages call the checkpoint.

    Raises:
        ModelError: If the design doesn't know an option, or a weight has another shape or is no floating-point number.
    """
    model = new_encoder(config)
    tensors = renamed(tensors, config)
    require_tied_words(tensors, model, source)
    missing, used = [], set()
    optional = architecture_of(config).optional_weights
    for name, weight in model.weight_map().items():
        found = next((other for other in names_in_files(name, model) if other in tensors), None)
        if found is None:
            missing.extend([] if name.startswith(optional) else [name])
            continue
        used.add(found)
        require_floats_of_shape(found, tensors[found], weight.array().shape, source)
        weight.variable.assign(weight.to_pytorch(tensors[found].astype(np.float32)))
    others = sorted(set(tensors) - used)
    kept = re.compile(architecture_of(config).kept_weights)
    # Keras would take a dictionary for a part of the model.
    model.kept_weights = MappingProxyType({name: tensors[name] for name in others if kept.search(name)})
    tell_of_others([name for name in others if name not in model.kept_weights], model, source)
    return model, tuple(missing)


def renamed(tensors: Mapping[str, np.ndarray], config: PretrainedConfig) -> dict[str, np.ndarray]:
    """A checkpoint's weights by the names that this project's encoder writes, where it knows of others."""
    names = {name: name for name in tensors}
    for pattern, ours in architecture_of(config).pytorch_renames.items():
        names = {name: re.sub(pattern, ours, new) for name, new in names.items()}
    return {names[name]: tensor for name, tensor in tensors.items()}


def names_in_files(name: str, model: NativeMaskedLM) -> list[str]:
    """The names that a weight may have in a file, the first that is there being meant.

    PyTorch keeps tied weights under two names, of which a file may hold either. A base model's file has the names
    without the model's own, and the record knows of others.
    """
    names, prefix = model.design.names, f"{model.base_model_prefix}."
    aliases = architecture_of(model.config).pytorch_aliases
    candidates = [name, name.removeprefix(prefix), *(other for other, meant in aliases.items() if meant == name)]
    if name == names.head_bias:
        # Where there are both, and the matrix isn't tied, transformers 5 uses that of the matrix.
        candidates.insert(len(candidates) if model.design.tied else 0, f"{names.head_output}.bias")
    if name == names.below_model(f"{names.words}.weight") and model.design.tied:
        candidates.append(f"{names.head_output}.weight")
    return candidates


def require_tied_words(tensors: Mapping[str, np.ndarray], model: NativeMaskedLM, source: str) -> None:
    """Refuses an output matrix that isn't the embedding of tokens where the configuration ties the two.

    And so another embedding under one of its other names, such as a decoder's.

    Raises:
        ModelError: If they differ.
    """
    if not model.design.tied:
        return
    names = model.design.names
    words = names_in_files(names.below_model(f"{names.words}.weight"), model)
    found = [name for name in words if name in tensors]
    differing = [name for name in found[1:] if not np.array_equal(tensors[name], tensors[found[0]])]
    if differing and differing[0] in architecture_of(model.config).pytorch_aliases:
        raise ModelError(
            "the encoder and the decoder must have the same embedding of tokens",
            received=f"{source}, whose {differing[0]} differs from {found[0]}",
            remedy="use another checkpoint, or serve and train this one with PyTorch",
        )
    if differing:
        raise ModelError(
            "the output matrix must be the input embeddings where config.json says that they are tied",
            received=f"{source}, whose {differing[0]} differs from {found[0]}",
            remedy='write "tie_word_embeddings": false into its config.json',
        )


def tell_of_others(names: list[str], model: NativeMaskedLM, source: str) -> None:
    """Warns of weights that the model has no place for, but for those that change no prediction.

    Args:
        names: PyTorch's names of what wasn't used.
        model: The model.
        source: What messages call the checkpoint.
    """
    record, output = architecture_of(model.config), model.design.names.head_output
    biases = (f"{output}.bias", model.design.names.head_bias)
    tied = (*biases, f"{output}.weight") if model.design.tied else biases
    known = (*record.unused_weights, *record.optional_weights, *record.pytorch_aliases)
    others = [name for name in names if name not in tied and not name.startswith(known)]
    if others:
        more = f" and {len(others) - SHOWN:,} others" if len(others) > SHOWN else ""
        logger.warning(
            "%s has weights that a masked %s has no place for, and that aren't used: %s%s.",
            source,
            model.config.model_type,
            ", ".join(others[:SHOWN]),
            more,
        )
