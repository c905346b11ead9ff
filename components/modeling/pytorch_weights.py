"""A Keras masked language model as PyTorch users load it: `model.safetensors` in PyTorch's names and layout.

Nothing here needs PyTorch: names and transposes follow transformers' own conversion rules, the other way
round from its loading of PyTorch weights into TensorFlow. Written and read back, weights are bit for bit
the same, but for those that no prediction depends on.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
    config["architectures"] = [type(model).__name__.removeprefix("TF")]
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
    from transformers.modeling_tf_pytorch_utils import apply_transpose, convert_tf_weight_name_to_pt_weight_name

    arrays: dict[str, np.ndarray] = {}
    for weight in model.weights:
        name, transpose = convert_tf_weight_name_to_pt_weight_name(weight.name, tf_weight_shape=weight.shape)
        if _is_esm_output(model, weight):
            # Keras builds ESM's tied embedding twice, so that training takes its two copies apart.
            name = "lm_head.decoder.weight"
        if _is_unused(model.config.model_type, name):
            continue
        arrays[name] = np.ascontiguousarray(apply_transpose(transpose, weight.numpy(), pt_to_tf=False))
    _mend(model.config.model_type, arrays)
    return arrays, _drop_tied_output(model, arrays)


def _is_esm_output(model: "TFPreTrainedModel", weight: object) -> bool:
    """Whether a weight is the output layer of an ESM whose configuration says that it is tied."""
    return model.config.model_type == "esm" and weight is getattr(model.lm_head, "decoder", None)


def _is_unused(model_type: str, name: str) -> bool:
    """Whether PyTorch's masked-LM class has no such weight, as no prediction depends on it."""
    return model_type == "mpnet" and name.startswith("mpnet.pooler.")


def _mend(model_type: str, arrays: dict[str, np.ndarray]) -> None:
    """Brings what the library's rules get wrong into PyTorch's form."""
    if model_type == "convbert":
        for name, array in arrays.items():
            if name.endswith(".key_conv_attn_layer.bias"):
                arrays[name] = array.reshape(-1, 1)  # (channels, 1): added to (batch, channels, length)
            if name.endswith(".depthwise.weight"):
                arrays[name] = np.ascontiguousarray(array.swapaxes(0, 1))  # (channels, 1, kernel size)
    if model_type == "albert":
        # TensorFlow adds the decoder's bias alone; PyTorch's two are one, and either may win.
        arrays["predictions.bias"] = arrays["predictions.decoder.bias"].copy()


def _drop_tied_output(model: "TFPreTrainedModel", arrays: dict[str, np.ndarray]) -> bool:
    """Removes an output layer that equals the word embeddings; whether the two are one."""
    output = next((arrays[name] for name in OUTPUT_LAYERS if name in arrays), None)
    if output is None:
        return True
    embeddings = arrays[f"{model.base_model_prefix}.embeddings.word_embeddings.weight"]
    if not np.array_equal(output, embeddings):
        if model.config.model_type == "mobilebert":
            # Version 5 ties the two biases only where it ties the weights; version 4 always.
            arrays["cls.predictions.decoder.bias"] = arrays["cls.predictions.bias"].copy()
        return False
    for name in OUTPUT_LAYERS:
        arrays.pop(name, None)
    return True


OUTPUT_LAYERS = ("lm_head.decoder.weight", "cls.predictions.decoder.weight")
"""Output layers that TensorFlow holds apart from the word embeddings (ESM; MobileBERT and RemBERT)."""
