"""Weights in PyTorch's form: our own loader gives back every bit, and PyTorch gives the same logits."""

import json

import numpy as np
import pytest
from safetensors import safe_open

from components.modeling.checkpoint import load_masked_lm, masked_lm_model_types
from components.modeling.pytorch_weights import pytorch_weights, save_pytorch_weights
from tests.modeling.tiny_models import NARROW, VARIANTS, random_model, token_batch

PICKED = ("albert", "convbert", "esm", "mobilebert", "mpnet", "rembert", "roberta", "roformer")
"""The architectures that take more than the library's rules, and two that don't."""


def logits(model):
    return model(token_batch(), training=False).logits.numpy()


def check_round_trip(model, directory):
    save_pytorch_weights(model, directory)
    again = load_masked_lm(directory)
    assert np.array_equal(logits(again), logits(model))
    before, after = pytorch_weights(model)[0], pytorch_weights(again)[0]
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, after[name]), name


@pytest.mark.parametrize("model_type", PICKED)
def test_round_trip_gives_back_every_bit(model_type, tmp_path):
    check_round_trip(random_model(model_type), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(set(masked_lm_model_types()) - set(PICKED)))
def test_round_trip_of_the_other_architectures(model_type, tmp_path):
    check_round_trip(random_model(model_type), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_round_trip_of_variants(name, tmp_path):
    model_type, values = VARIANTS[name]
    check_round_trip(random_model(model_type, **values), tmp_path)


def test_the_file_says_that_it_is_pytorchs(tmp_path):
    save_pytorch_weights(random_model("roberta"), tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="np") as archive:
        assert archive.metadata() == {"format": "pt"}
        shape = archive.get_slice("roberta.encoder.layer.0.intermediate.dense.weight").get_shape()
    assert shape == [NARROW["intermediate_size"], NARROW["hidden_size"]]  # (out, in)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["RobertaForMaskedLM"]
    assert config["tie_word_embeddings"] is True


def test_untied_in_the_configuration_only_is_told_as_tied(tmp_path):
    """PyTorch would start an output layer at random that TensorFlow's class doesn't have."""
    save_pytorch_weights(random_model("roberta", tie_word_embeddings=False), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is True


@pytest.mark.parametrize("model_type", ["mobilebert", "esm"])
def test_copies_of_the_embeddings_that_training_took_apart_stay_apart(model_type, tmp_path):
    model = random_model(model_type)
    arrays, tied = pytorch_weights(model)
    assert not tied
    assert any(name.endswith(".decoder.weight") for name in arrays)


def test_equal_copies_of_the_embeddings_are_one():
    model = random_model("mobilebert")
    head = model.get_lm_head()
    head.decoder.assign(model.mobilebert.embeddings.weight)
    arrays, tied = pytorch_weights(model)
    assert tied
    assert "cls.predictions.decoder.weight" not in arrays
