"""Configurations and weights as the authors' own code writes them, for which transformers 4 has no class."""

import json

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from components.modeling.checkpoint import load_masked_lm
from components.modeling.configuration import load_config
from components.modeling.pytorch_weights import save_pytorch_weights
from foundation.errors import ModelError
from tests.modeling.tiny_models import random_model, token_batch

NOMIC = {
    "model_type": "nomic_bert",
    "auto_map": {"AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig"},
    "activation_function": "swiglu",
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 36,
    "n_positions": 64,
    "vocab_size": 97,
    "pad_vocab_size_multiple": 3,
    "type_vocab_size": 2,
    "layer_norm_epsilon": 1e-12,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_base": 1000,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "prenorm": False,
}
"""A tiny one of https://huggingface.co/nomic-ai/nomic-bert-2048."""


def written(folder, config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_nomic_berts_original_file_is_the_same_model(tmp_path):
    """Its names and options differ, and its head has no biases."""
    model = random_model("nomic_bert")
    weights = {name: weight.variable for name, weight in model.weight_map().items()}
    biases = ["cls.predictions.bias", "cls.predictions.transform.dense.bias"]
    for name in biases:
        weights[name].assign(tf.zeros_like(weights[name]))
    save_pytorch_weights(model, tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    original = {name.replace("nomic_bert.", "bert."): array for name, array in arrays.items() if name not in biases}
    folder = written(tmp_path / "original", NOMIC)
    save_file(original, folder / "model.safetensors", metadata={"format": "pt"})
    again = load_masked_lm(folder)
    assert again.config.vocab_size == 99
    np.testing.assert_array_equal(again(token_batch()).logits, model(token_batch()).logits)
    # What is saved has transformers 5's names of the options, and names no code.
    save_pytorch_weights(again, folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["hidden_size"] == 32
    assert "n_embd" not in config
    assert "auto_map" not in config


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("prenorm", True),
        ("qkv_proj_bias", True),
        ("activation_function", "geglu"),
        ("rotary_emb_fraction", 0.5),
        ("rotary_emb_interleaved", True),
        ("use_rms_norm", True),
    ],
)
def test_an_option_that_is_not_known_is_refused(option, value, tmp_path):
    with pytest.raises(ModelError, match=f"^{option} of a nomic_bert must be ") as refusal:
        load_config(written(tmp_path, {**NOMIC, option: value}))
    assert refusal.value.received == repr(value)


def test_a_file_with_other_names_of_sizes_is_no_large_model(tmp_path):
    with pytest.raises(ModelError, match="must describe a esmc") as refusal:
        load_config(written(tmp_path, {"model_type": "esmc", "d_model": 32, "n_heads": 4, "n_layers": 2}))
    assert "'hidden_size'" in refusal.value.received


def test_gtes_own_scaling_of_positions(tmp_path):
    """Each frequency is base ** (-2 i / size) / factor ** (2 / size), the base being that times the factor."""
    own = {"model_type": "new", "hidden_size": 32, "num_attention_heads": 4, "position_embedding_type": "rope"}
    rope = {"rope_theta": 20_000.0, "rope_scaling": {"type": "ntk", "factor": 8.0}, "logn_attention_scale": False}
    config = load_config(written(tmp_path, {**own, **rope}))
    assert config.model_type == "gte"
    assert config.rope_parameters == {"rope_type": "linear", "rope_theta": 160_000.0, "factor": 8.0 ** (2 / 8)}
    with pytest.raises(ModelError, match="logn_attention_scale of a gte must be False"):
        load_config(written(tmp_path, {**own, **rope, "logn_attention_scale": True}))
