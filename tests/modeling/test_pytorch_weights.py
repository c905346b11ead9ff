"""Weights in PyTorch's form: what the file and its configuration say."""

import json

import pytest
from safetensors import safe_open

from components.modeling.architectures.architecture import TINY
from components.modeling.pytorch_weights import pytorch_weights, save_pytorch_weights
from tests.modeling.tiny_models import random_model


def test_the_file_says_that_it_is_pytorchs(tmp_path):
    save_pytorch_weights(random_model("roberta"), tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="np") as archive:
        assert archive.metadata() == {"format": "pt"}
        shape = archive.get_slice("roberta.encoder.layer.0.intermediate.dense.weight").get_shape()
    assert shape == [TINY["intermediate_size"], TINY["hidden_size"]]  # (out, in)
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
