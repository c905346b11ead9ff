"""Runs with PyTorch, in an environment of its own: loads each folder, and compares its logits with Keras's.

python pytorch_logits.py DIRECTORY

A folder of DIRECTORY holds a checkpoint and `expected.npz`: input_ids and attention_mask (batch, length) int64,
logits (batch, length, vocabulary) float32. Prints JSON: the library's version, and by folder the largest
difference of a logit at a place that is attended to, and the weights that were missing, unexpected or misfit.
"""

import inspect
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import nn
from transformers import AutoModelForMaskedLM


def stand_in_for_quantization() -> None:
    """QDQBert's class imports NVIDIA's pytorch_quantization, which gives its layers' sums in float if it is off."""
    linear = type("QuantLinear", (nn.Linear,), {"default_quant_desc_input": None, "default_quant_desc_weight": None})
    quantizer = type("TensorQuantizer", (nn.Identity,), {})
    modules = {
        "pytorch_quantization": {"__version__": "2.1.2"},
        "pytorch_quantization.nn": {"QuantLinear": linear},
        "pytorch_quantization.nn.modules": {},
        "pytorch_quantization.nn.modules.tensor_quantizer": {"TensorQuantizer": quantizer},
    }
    for name, contents in modules.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)
    sys.modules["pytorch_quantization"].nn = sys.modules["pytorch_quantization.nn"]
    transformers.utils.import_utils._pytorch_quantization_available = True


def taken(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What of a batch the model takes: FNet's has no attention_mask."""
    names = inspect.signature(model.forward).parameters
    return {name: value for name, value in batch.items() if name in names}


def logits_of(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """(batch, length, vocabulary), each row by itself: a Nyströmformer's answers depend on the others beside it.

    A Perceiver answers for all of its positions, however short the texts: what is beyond them is cut.
    """
    inputs = taken(model, batch)
    rows = [
        model(**{name: value[row : row + 1] for name, value in inputs.items()})
        for row in range(len(batch["input_ids"]))
    ]
    return torch.cat([row.logits for row in rows])[:, : batch["input_ids"].shape[1]]


def compare(directory: Path) -> dict[str, object]:
    """The difference in logits, and the keys that don't match."""
    model, info = AutoModelForMaskedLM.from_pretrained(directory, output_loading_info=True)
    expected = np.load(directory / "expected.npz")
    inputs = {name: torch.from_numpy(expected[name]) for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        logits = logits_of(model.eval(), inputs).numpy()
    attended = expected["attention_mask"] > 0
    return {
        "class": type(model).__name__,
        "difference": float(np.abs(logits - expected["logits"])[attended].max()),
        "mismatches": {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys},
    }


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    stand_in_for_quantization()
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    results = {folder.name: compare(folder) for folder in folders}
    print(json.dumps({"transformers": transformers.__version__, "results": results}))
