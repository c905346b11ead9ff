"""Runs with PyTorch, in an environment of its own: makes random models, and writes what they answer.

python pytorch_models.py DIRECTORY

DIRECTORY/models.json has by a name a model's type and its configuration's values. Each model's folder gets the
checkpoint as PyTorch's class writes it; `expected.npz`, with input_ids, attention_mask and labels (batch, length) int64
and logits (batch, length, vocabulary) float32; and the folder `gradients`, which is a checkpoint whose weights are the
gradients of the loss, so that they have the names and layouts of the weights. The first model's weights are there once
more in a folder `pickle`, as `pytorch_model.bin`. Prints JSON: the library's version; the names of the models,
without those of types that it doesn't know, or that it makes otherwise than configured; and those that it fails with,
each with the error.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from pytorch_logits import logits_of, stand_in_for_quantization
from safetensors.torch import load_file
from torch import nn
from transformers import CONFIG_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM

BATCH, LENGTH, FIRST_WORD = 3, 24, 5
PADDED = (0, 5, 17)
"""Places of padding at the end of each row."""
UNLABELED = -100


def has_class(model_type: str) -> bool:
    """Whether this version of the library has a masked LM of a type."""
    return model_type in CONFIG_MAPPING and CONFIG_MAPPING[model_type] in MODEL_FOR_MASKED_LM_MAPPING


def random_model(model_type: str, values: dict[str, Any]) -> nn.Module:
    """A model all of whose weights are random, biases and norms too."""
    model = AutoModelForMaskedLM.from_config(CONFIG_MAPPING[model_type](**values)).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in (*model.parameters(), *biases_in_buffers(model)):
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def biases_in_buffers(model: nn.Module) -> list[torch.Tensor]:
    """Weights that aren't trained, but are saved, such as `final_logits_bias` of BART."""
    return [buffer for name, buffer in model.named_buffers() if name.endswith("_bias")]


def is_as_configured(model: nn.Module) -> bool:
    """Whether the output matrix is the embedding of tokens if the configuration says so: of LUKE's it isn't in 5."""
    words, output = model.get_input_embeddings(), model.get_output_embeddings()
    # A Perceiver has no output matrix beside the embedding of its bytes.
    return output is None or not model.config.tie_word_embeddings or words.weight is output.weight


def batch_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Token ids, the mask, and labels at every third token that is there."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(FIRST_WORD, model.config.vocab_size, (BATCH, LENGTH), generator=generator)
    labels = torch.randint(FIRST_WORD, model.config.vocab_size, (BATCH, LENGTH), generator=generator)
    mask = torch.ones_like(ids)
    for row, count in enumerate(PADDED):
        ids[row, LENGTH - count :] = model.config.pad_token_id
        mask[row, LENGTH - count :] = 0
    labels[(mask == 0) | (torch.arange(LENGTH) % 3 > 0)] = UNLABELED
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def write(model: nn.Module, folder: Path) -> None:
    """The checkpoint, what it answers, and the gradients."""
    model.save_pretrained(folder)
    batch = batch_of(model)
    labels = batch["labels"]
    logits = logits_of(model, {name: value for name, value in batch.items() if name != "labels"})
    np.savez(folder / "expected.npz", logits=logits.detach().numpy(), **{k: v.numpy() for k, v in batch.items()})
    nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=UNLABELED).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
        for buffer in biases_in_buffers(model):
            buffer.zero_()
    model.save_pretrained(folder / "gradients")


def write_pickle(folder: Path) -> None:
    """The weights as older versions of the library wrote them."""
    (folder / "pickle").mkdir()
    shutil.copy(folder / "config.json", folder / "pickle")
    torch.save(load_file(folder / "model.safetensors"), folder / "pickle" / "pytorch_model.bin")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    stand_in_for_quantization()
    directory = Path(sys.argv[1])
    models = json.loads((directory / "models.json").read_text())
    made, failed = [], {}
    for name, (model_type, values) in models.items():
        try:
            if has_class(model_type) and is_as_configured(model := random_model(model_type, values)):
                write(model, directory / name)
                made.append(name)
        except (StrictDataclassError, RuntimeError) as error:
            failed[name] = str(error)
    write_pickle(directory / made[0])
    print(json.dumps({"transformers": transformers.__version__, "made": made, "failed": failed}))
