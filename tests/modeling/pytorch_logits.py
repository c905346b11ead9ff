"""Runs with PyTorch, in an environment of its own: loads each folder, and compares its logits with Keras's.

python pytorch_logits.py DIRECTORY

A folder of DIRECTORY holds a checkpoint and `expected.npz`: input_ids and attention_mask (batch, length) int64,
logits (batch, length, vocabulary) float32. Prints JSON: the library's version, and by folder the largest
difference of a logit at a place that is attended to, and the weights that were missing, unexpected or misfit.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModelForMaskedLM


def compare(directory: Path) -> dict[str, object]:
    """The difference in logits, and the keys that don't match."""
    model, info = AutoModelForMaskedLM.from_pretrained(directory, output_loading_info=True)
    expected = np.load(directory / "expected.npz")
    inputs = {name: torch.from_numpy(expected[name]) for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        logits = model.eval()(**inputs).logits.numpy()
    attended = expected["attention_mask"] > 0
    return {
        "class": type(model).__name__,
        "difference": float(np.abs(logits - expected["logits"])[attended].max()),
        "mismatches": {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys},
    }


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    results = {folder.name: compare(folder) for folder in folders}
    print(json.dumps({"transformers": transformers.__version__, "results": results}))
