"""Checkpoints that are damaged, quantized or of another shape are refused; none of them is silently another model."""

import json

import h5py
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from components.modeling.checkpoint import load_masked_lm
from components.modeling.pytorch_weights import pytorch_weights
from foundation.errors import ModelError
from tests.modeling.pytorch_pickles import write_archive, write_legacy
from tests.modeling.tiny_models import random_model

WEIGHT = "roberta.encoder.layer.0.output.dense.weight"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 499355533\n"


@pytest.fixture(scope="module")
def model():
    return random_model("roberta")


@pytest.fixture(scope="module")
def tensors(model):
    return pytorch_weights(model)[0]


@pytest.fixture
def folder(model, tmp_path):
    """A folder with the configuration alone."""
    model.config.save_pretrained(tmp_path)
    return tmp_path


def write_safetensors(folder, tensors):
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_shards(folder, tensors):
    weight_map = {}
    names = sorted(tensors)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def refused(folder, message):
    with pytest.raises(ModelError, match=message):
        load_masked_lm(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "write",
    [
        write_safetensors,
        write_shards,
        lambda folder, tensors: write_archive(folder / "pytorch_model.bin", tensors),
        lambda folder, tensors: write_legacy(folder / "pytorch_model.bin", tensors),
    ],
)
def test_what_is_no_finite_number_is_refused_in_every_format(folder, tensors, write, value):
    bad = tensors[WEIGHT].copy()
    bad[0, 0] = value
    write(folder, {**tensors, WEIGHT: bad})
    refused(folder, rf"finite numbers.*{WEIGHT} holds NaN or infinity")


def test_what_is_no_finite_number_is_refused_in_keras_own_format(folder, model):
    model.save_pretrained(folder)
    with h5py.File(folder / "tf_model.h5", "a") as file:
        found = []
        file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
        found[0][...] = np.nan
    refused(folder, "finite numbers")


def test_numbers_beyond_float32_are_infinite(folder, tensors):
    write_safetensors(folder, {name: array.astype(np.float64) * 1e60 for name, array in tensors.items()})
    refused(folder, "holds NaN or infinity")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, ml_dtypes.float8_e4m3fn])
def test_quantized_weights_are_refused(folder, tensors, dtype):
    write_safetensors(folder, {**tensors, WEIGHT: tensors[WEIGHT].astype(dtype)})
    refused(folder, "floating-point numbers.*it is quantized")


@pytest.mark.parametrize("change", [np.transpose, lambda array: array[:, :-1], lambda array: array.reshape(-1)])
def test_another_shape_is_refused_though_its_size_may_be_the_same(folder, tensors, change):
    write_safetensors(folder, {**tensors, WEIGHT: np.ascontiguousarray(change(tensors[WEIGHT]))})
    refused(folder, rf"{WEIGHT} is of .*, where \(32, 36\) is expected")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tf_model.h5"])
@pytest.mark.parametrize("content", [b"", bytes(5000), b"<!DOCTYPE html>" * 50])
def test_a_file_of_something_else_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    refused(folder, "must be complete and undamaged")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tf_model.h5", "shard"])
def test_a_pointer_of_git_lfs_is_named_as_one(folder, tensors, name):
    if name == "shard":
        write_shards(folder, tensors)
        name = "model-00002-of-00002.safetensors"
    (folder / name).write_bytes(POINTER)
    refused(folder, f"{name}, which is a pointer of Git LFS.*lfs pull")


@pytest.mark.parametrize("weight_map", [3, {"a": 3}, {"a": "../model.safetensors"}])
def test_an_index_that_is_none_is_refused(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    refused(folder, "an index of shards must be JSON with a `weight_map`")


def test_a_configuration_that_describes_no_model_is_refused(folder, tensors):
    write_safetensors(folder, tensors)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "32"}))
    refused(folder, "config.json must describe a roberta that can be built")


def test_layers_beyond_those_of_the_configuration_are_told_of(folder, tensors, caplog):
    write_safetensors(folder, tensors)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    load_masked_lm(folder)
    [record] = caplog.records
    assert "16 weights of layers that its config.json doesn't describe" in record.getMessage()
