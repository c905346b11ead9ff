"""A Keras masked language model as PyTorch users load it: `model.safetensors` in PyTorch's names and layout.

Nothing here needs PyTorch: names and transposes follow transformers' own conversion rules, the other way
round from its loading of PyTorch weights into TensorFlow. Written and read back, weights are bit for bit
the same, but for those that no prediction depends on.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.modeling.architectures.architecture import Architecture
from components.modeling.architectures.records import architecture_of
from components.modeling.library.adapter import as_masked_lm
from components.modeling.weights import CONFIG_NAME, SAFETENSORS

if TYPE_CHECKING:
    from transformers import TFPreTrainedModel


def save_pytorch_weights(model: "TFPreTrainedModel", directory: Path) -> None:
    """Writes `model.safetensors` (`format: pt`) and the `config.json` that belongs to it.

    The configuration says whether the output layer shares the word embeddings, as this model's weights
    stand: PyTorch's classes overwrite the one with the other where it says so, whatever the file holds.

    Args:
        model: Any architecture with a TensorFlow masked-LM class, built.
        directory: An existing directory.
    """
    from safetensors.numpy import save_file

    arrays, tied = pytorch_weights(model)
    save_file(arrays, directory / SAFETENSORS, metadata={"format": "pt"})
    config = model.config.to_diff_dict()
    config["architectures"] = [architecture_of(model.config).pytorch_class or type(model).__name__.removeprefix("TF")]
    config["tie_word_embeddings"] = tied
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    (directory / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")


def pytorch_weights(model: "TFPreTrainedModel") -> tuple[dict[str, np.ndarray], bool]:
    """A model's weights by PyTorch's names and in PyTorch's layout.

    Args:
        model: Any architecture with a TensorFlow masked-LM class, built.

    Returns:
        C-contiguous arrays by name, and whether the output layer shares the word embeddings. A tied output
        layer is left out, as PyTorch's own `save_pretrained` leaves it out.
    """
    record = architecture_of(model.config)
    arrays = {name: weight.array() for name, weight in as_masked_lm(model).weight_map().items()}
    _copy(arrays, record.pytorch_copies)
    if record.design is not None:
        design = record.design_of(model.config)
        if not design.tied:
            _copy(arrays, design.names.copies_where_untied(design.head_bias))
        return {**arrays, **model.kept_weights}, design.tied
    tied = _drop_tied_output(model, record, arrays)
    if not tied:
        _copy(arrays, record.pytorch_copies_where_untied)
    return arrays, tied


def _copy(arrays: dict[str, np.ndarray], copies: Mapping[str, str]) -> None:
    """Adds arrays with the values of others, in place, but for those that are there."""
    for name, other in copies.items():
        arrays.setdefault(name, arrays[other].copy())


def _drop_tied_output(model: "TFPreTrainedModel", record: Architecture, arrays: dict[str, np.ndarray]) -> bool:
    """Removes an output matrix that equals the embedding of tokens; whether the two are one."""
    name = f"{record.output_layer}.weight"
    if name not in arrays:
        return True
    [embeddings] = [array for other, array in arrays.items() if other.endswith(record.input_embeddings)]
    if not np.array_equal(arrays[name], embeddings):
        return False
    del arrays[name]
    return True
