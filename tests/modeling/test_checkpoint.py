"""Checkpoints of every weight format load to the same model; what can't be loaded says why."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from transformers import (
    CONFIG_MAPPING,
    PreTrainedTokenizerFast,
    TFAutoModel,
    TFAutoModelForSequenceClassification,
)
from transformers.modeling_tf_pytorch_utils import TransposeType, convert_tf_weight_name_to_pt_weight_name

from components.hub.checkpoints import checkpoint_directory
from components.modeling.architectures.records import ARCHITECTURES
from components.modeling.checkpoint import (
    build_masked_lm,
    load_checkpoint,
    load_masked_lm,
    save_masked_lm,
)
from components.modeling.configuration import require_vocabulary
from components.modeling.pytorch_weights import pytorch_weights
from foundation.errors import ConfigError, HubError, ModelError, PipelineError
from tests.modeling.pytorch_pickles import write_archive, write_legacy
from tests.modeling.tiny_models import random_model

ROOT = Path(__file__).resolve().parents[2]
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
SMALL = {
    "albert": SIZES | {"embedding_size": 8, "num_hidden_groups": 1},
    "bert": SIZES,
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40},
    "electra": SIZES | {"embedding_size": 8},
    "mpnet": SIZES,
    "roberta": SIZES,
    "roformer": SIZES | {"embedding_size": 16},
    "xlm-roberta": SIZES,
}
IDS = np.arange(5, 17, dtype=np.int32)[None]


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer as Rust
    from tokenizers import models

    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *(f"word{number}" for number in range(45))]
    rust = Rust(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=rust, mask_token="<mask>", **special)


def small_model(model_type, tokenizer):
    """A small model whose every weight is random: zeros and ones would hide a missing one."""
    model = build_masked_lm(model_type, SMALL[model_type], tokenizer, seed=3)
    for variable in model.variables:
        if variable.dtype.is_floating:
            variable.assign_add(tf.random.normal(variable.shape, stddev=0.1))
    return model


def pytorch_tensors(model):
    """The weights under PyTorch's names and in its layout, as its `save_pretrained` writes them."""
    tensors = {}
    for variable in model.variables:
        name, transpose = convert_tf_weight_name_to_pt_weight_name(variable.name, tf_weight_shape=variable.shape)
        if hasattr(model, "tf_to_pt_weight_rename"):
            name = model.tf_to_pt_weight_rename(name)[0]
        array = variable.numpy()
        if transpose is TransposeType.SIMPLE:
            array = array.T
        tensors[name] = np.ascontiguousarray(array)
    return tensors


def write_pytorch(model, directory, tensors, **config):
    directory.mkdir(exist_ok=True)
    model.config.save_pretrained(directory)
    content = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(content | config))
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def logits(model):
    return model(IDS).logits.numpy()


@pytest.fixture(scope="module")
def roberta(tokenizer):
    return small_model("roberta", tokenizer)


@pytest.mark.parametrize("model_type", sorted(SMALL))
def test_pytorch_safetensors(model_type, tokenizer, tmp_path, caplog):
    model = small_model(model_type, tokenizer)
    directory = write_pytorch(model, tmp_path / "model", pytorch_tensors(model))
    loaded = load_masked_lm(directory)
    np.testing.assert_array_equal(logits(loaded), logits(model))
    assert not caplog.records
    save_masked_lm(loaded, tokenizer, tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").glob("*.h5")) == ["tf_model.h5"]
    np.testing.assert_array_equal(logits(load_masked_lm(tmp_path / "again")), logits(model))


def test_the_layout_is_pytorchs(roberta):
    """Guards the test's own files: names and (out, in) kernels as in a repository on the Hub."""
    tensors = pytorch_tensors(roberta)
    assert tensors["roberta.encoder.layer.0.intermediate.dense.weight"].shape == (24, 16)
    assert tensors["roberta.embeddings.word_embeddings.weight"].shape == (50, 16)
    assert {"lm_head.bias", "lm_head.dense.weight", "lm_head.layer_norm.weight"} <= tensors.keys()


@pytest.mark.parametrize("framework", ["pt", "tf"])
def test_sharded_safetensors(framework, roberta, tmp_path):
    if framework == "pt":
        tensors = pytorch_tensors(roberta)
        write_pytorch(roberta, tmp_path, tensors)
    else:
        roberta.save_pretrained(tmp_path, safe_serialization=True)
        tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, tmp_path / shard, metadata={"format": framework})
        weight_map.update(dict.fromkeys(part, shard))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    np.testing.assert_array_equal(logits(load_masked_lm(tmp_path)), logits(roberta))
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match="lacks model-00002-of-00002"):
        load_masked_lm(tmp_path)


def test_tensorflow_safetensors(roberta, tmp_path):
    roberta.save_pretrained(tmp_path, safe_serialization=True)
    assert (tmp_path / "model.safetensors").is_file()
    np.testing.assert_array_equal(logits(load_masked_lm(tmp_path)), logits(roberta))


def test_sharded_h5(roberta, tmp_path):
    roberta.save_pretrained(tmp_path, max_shard_size="8KB")
    assert (tmp_path / "tf_model.h5.index.json").is_file()
    np.testing.assert_array_equal(logits(load_masked_lm(tmp_path)), logits(roberta))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused_by_their_name(roberta, tmp_path, wrong):
    tensors = {name: array.copy() for name, array in pytorch_tensors(roberta).items()}
    tensors["lm_head.bias"][3] = wrong
    with pytest.raises(ModelError, match=r"must be finite numbers\. Received: .*lm_head.bias.* holds NaN or infinity"):
        load_masked_lm(write_pytorch(roberta, tmp_path, tensors))


def test_half_precision_becomes_single(roberta, tmp_path):
    import ml_dtypes

    exact = pytorch_tensors(roberta)
    for half in (np.float16, ml_dtypes.bfloat16):
        tensors = {name: array.astype(half) for name, array in exact.items()}
        loaded = load_masked_lm(write_pytorch(roberta, tmp_path, tensors, dtype=np.dtype(half).name))
        assert {variable.dtype for variable in loaded.trainable_variables} == {tf.float32}
        assert "dtype" not in loaded.config.to_diff_dict()
        rounded = exact["lm_head.bias"].astype(half).astype(np.float32)
        np.testing.assert_array_equal(loaded.lm_head.bias.numpy(), rounded)


def test_a_base_model_lacks_the_head_and_says_so(roberta, tmp_path, caplog):
    tensors = {
        name.removeprefix("roberta."): array
        for name, array in pytorch_tensors(roberta).items()
        if name.startswith("roberta.")
    }
    with caplog.at_level(logging.WARNING):
        loaded = load_masked_lm(write_pytorch(roberta, tmp_path, tensors))
    (record,) = caplog.records
    assert "has no language-model head" in record.getMessage()
    assert "lm_head.bias" in record.getMessage()
    hidden = roberta.roberta(IDS).last_hidden_state
    np.testing.assert_array_equal(loaded.roberta(IDS).last_hidden_state, hidden)


@pytest.mark.parametrize("form", ["pytorch", "safetensors", "h5"])
def test_a_head_for_another_task_is_none(form, tmp_path):
    """What loads is the body; the head is new, and the sentence says what the checkpoint is."""
    config = CONFIG_MAPPING["bert"](**ARCHITECTURES["bert"].tiny)
    model = TFAutoModelForSequenceClassification.from_config(config)
    model.build_in_name_scope()
    if form == "pytorch":
        write_pytorch(model, tmp_path, pytorch_tensors(model), architectures=["BertForSequenceClassification"])
    else:
        model.save_pretrained(tmp_path, safe_serialization=form == "safetensors")
    loaded = load_checkpoint(tmp_path, "the checkpoint")
    assert loaded.has_new_head
    assert sorted(loaded.missing) == [
        "cls.predictions.bias",
        "cls.predictions.transform.LayerNorm.bias",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.transform.dense.bias",
        "cls.predictions.transform.dense.weight",
    ]
    beginning = "the checkpoint has no language-model head (its config.json says BertForSequenceClassification): "
    assert loaded.what_is_new.startswith(beginning)
    hidden = [each.bert(IDS).last_hidden_state for each in (loaded.model, model)]
    np.testing.assert_array_equal(*hidden)


def test_a_head_without_its_bias_is_a_head(roberta, tmp_path):
    tensors = pytorch_tensors(roberta)
    del tensors["lm_head.bias"]
    loaded = load_checkpoint(write_pytorch(roberta, tmp_path, tensors), "the checkpoint")
    assert not loaded.has_new_head
    assert loaded.what_is_new == "the checkpoint lacks lm_head.bias, which starts at zero"
    assert not loaded.model.lm_head.bias.numpy().any()


@pytest.mark.parametrize("part", [".layer.1.", ".layer.1.attention.self.query.", ".position_embeddings."])
def test_a_checkpoint_that_lacks_some_of_its_body_is_refused(part, roberta, tmp_path):
    tensors = {name: array for name, array in pytorch_tensors(roberta).items() if part not in name}
    with pytest.raises(ModelError, match=f"which lacks .* of 42 weights, such as roberta.*{part}"):
        load_masked_lm(write_pytorch(roberta, tmp_path, tensors))


@pytest.mark.parametrize("model_type", ["deberta", "deberta-v2"])
def test_debertas_own_checkpoints_name_the_head_otherwise(model_type, tmp_path, caplog):
    """As microsoft/deberta-v3-base has it, beside a head for another task."""
    model = random_model(model_type)
    tensors, _ = pytorch_weights(model)
    own = {
        name.replace("cls.predictions.transform.", "lm_predictions.lm_head.").replace(
            "cls.predictions.", "lm_predictions.lm_head."
        ): array
        for name, array in tensors.items()
    }
    assert {"lm_predictions.lm_head.dense.weight", "lm_predictions.lm_head.bias"} <= own.keys()
    own["mask_predictions.dense.weight"] = np.zeros((3, 3), np.float32)
    loaded = load_masked_lm(write_pytorch(model, tmp_path, own, legacy=False))
    np.testing.assert_array_equal(logits(loaded), logits(model))
    assert not caplog.records
    assert loaded.config.legacy


def test_tied_weights_under_their_other_names(roberta, tmp_path, caplog):
    tensors = pytorch_tensors(roberta)
    tensors["lm_head.decoder.weight"] = tensors.pop("roberta.embeddings.word_embeddings.weight")
    tensors["lm_head.decoder.bias"] = tensors.pop("lm_head.bias")
    loaded = load_masked_lm(write_pytorch(roberta, tmp_path, tensors))
    np.testing.assert_array_equal(logits(loaded), logits(roberta))
    assert not caplog.records


def test_an_output_matrix_of_its_own_is_refused(roberta, tmp_path):
    tensors = pytorch_tensors(roberta)
    tensors["lm_head.decoder.weight"] = tensors["roberta.embeddings.word_embeddings.weight"] + 1
    with pytest.raises(ModelError, match="TensorFlow's classes tie them"):
        load_masked_lm(write_pytorch(roberta, tmp_path, tensors))


HEADS = {
    "bert": "cls.predictions.decoder.weight",
    "convbert": "generator_lm_head.weight",
    "distilbert": "vocab_projector.weight",
    "electra": "generator_lm_head.weight",
    "flaubert": "pred_layer.proj.weight",
    "funnel": "lm_head.weight",
    "mobilebert": "cls.predictions.decoder.weight",
    "xlm": "pred_layer.proj.weight",
}


@pytest.mark.parametrize("model_type", sorted(HEADS))
def test_the_output_matrix_under_each_architectures_name(model_type, tmp_path, caplog):
    """Alone it stands for the embeddings, where the two are tied; beside them it isn't dropped."""
    model, head = random_model(model_type), HEADS[model_type]
    tensors, _ = pytorch_weights(model)
    if model_type == "mobilebert":
        tensors.pop(head, None)
    [name] = [name for name in tensors if name.endswith(ARCHITECTURES[model_type].input_embeddings)]
    embeddings = tensors.pop(name)
    loaded = load_masked_lm(write_pytorch(model, tmp_path, tensors | {head: embeddings}))
    np.testing.assert_array_equal(loaded.get_input_embeddings().weight, embeddings)
    assert not caplog.records
    with pytest.raises(ModelError, match=f"which lacks {name}"):
        load_masked_lm(write_pytorch(model, tmp_path, tensors))
    untied = tensors | {name: embeddings, head: embeddings + 1}
    write_pytorch(model, tmp_path, untied, tie_word_embeddings=False)
    if model_type == "mobilebert":
        load_masked_lm(tmp_path)
    else:
        with pytest.raises(ModelError, match=f"whose {head} differs from {name}"):
            load_masked_lm(tmp_path)


def test_weights_of_another_architecture_are_refused(roberta, tokenizer, tmp_path):
    tensors = pytorch_tensors(small_model("distilbert", tokenizer))
    with pytest.raises(ModelError, match="which lacks"):
        load_masked_lm(write_pytorch(roberta, tmp_path, tensors))


def test_weights_of_other_shapes_are_refused(roberta, tmp_path):
    directory = write_pytorch(roberta, tmp_path, pytorch_tensors(roberta), vocab_size=70)
    with pytest.raises(ModelError, match="have the shapes that config"):
        load_masked_lm(directory)


def test_damaged_weights_are_refused(roberta, tmp_path):
    path = write_pytorch(roberta, tmp_path, pytorch_tensors(roberta)) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="complete and undamaged"):
        load_masked_lm(tmp_path)
    path.unlink()
    (tmp_path / "tf_model.h5").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="undamaged"):
        load_masked_lm(tmp_path)


@pytest.mark.parametrize("write", [write_archive, write_legacy])
def test_a_pickle_of_pytorch(roberta, tmp_path, write):
    arrays, _ = pytorch_weights(roberta)
    roberta.config.save_pretrained(tmp_path)
    write(tmp_path / "pytorch_model.bin", arrays)
    np.testing.assert_array_equal(logits(load_masked_lm(tmp_path)), logits(roberta))


def test_shards_of_pickles(roberta, tmp_path):
    arrays, _ = pytorch_weights(roberta)
    roberta.config.save_pretrained(tmp_path)
    files = {name: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, name in enumerate(arrays)}
    for file in set(files.values()):
        write_archive(tmp_path / file, {name: array for name, array in arrays.items() if files[name] == file})
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    np.testing.assert_array_equal(logits(load_masked_lm(tmp_path)), logits(roberta))


def test_folders_that_are_no_checkpoint(roberta, tmp_path):
    with pytest.raises(ModelError, match=r"must hold a config\.json"):
        load_masked_lm(tmp_path)
    roberta.config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="must hold its weights as one of"):
        load_masked_lm(tmp_path)
    save_file({"a": np.zeros(1)}, tmp_path / "model.safetensors")
    for config, rule in (
        ({"model_type": "gpt2"}, "masked language model of"),
        ({"model_type": "no"}, "transformers knows"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=rule):
            load_masked_lm(tmp_path)
    for written, rule in (
        ("{", "must be a JSON object.*Way out: copy or download"),
        ("[]", r"must be a JSON object.*which holds \[\]"),
        ('{"hidden_size": 32}', 'no model_type. Way out: write it there, such as "model_type": "bert"'),
        ('{"model_type": 3}', "no model_type"),
    ):
        (tmp_path / "config.json").write_text(written)
        with pytest.raises(ModelError, match=rule):
            load_masked_lm(tmp_path)


def test_a_name_without_network(tmp_path):
    code = (
        "from components.hub.checkpoints import checkpoint_directory\nfrom foundation.errors import HubError\n"
        "try:\n    checkpoint_directory('no/such')\nexcept HubError as error:\n    print('REFUSED', error)"
    )
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "REFUSED the Hugging Face Hub must be reachable" in done.stdout


def test_a_name_from_the_cache(roberta, tmp_path, monkeypatch):
    """The layout that the Hub's client leaves behind is read without network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--tiny--model" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    write_pytorch(roberta, snapshot, pytorch_tensors(roberta))
    np.testing.assert_array_equal(logits(load_masked_lm(checkpoint_directory("tiny/model", commit))), logits(roberta))
    with pytest.raises(HubError):
        checkpoint_directory("tiny/model", "f" * 40)


def test_saved_models_are_ordinary(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    model = small_model("roformer", tokenizer)
    save_masked_lm(model, tokenizer, tmp_path)
    np.testing.assert_array_equal(
        TFAutoModel.from_pretrained(tmp_path)(IDS).last_hidden_state, model.roformer(IDS).last_hidden_state
    )
    # RoFormer's own tokenizer class would cut the text otherwise: the saved folder names ours.
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.mask_token_id == tokenizer.mask_token_id == model.config.mask_token_id
    assert str(tmp_path) not in (tmp_path / "config.json").read_text()


def test_equal_seeds_build_equal_models(tokenizer):
    first, again = (build_masked_lm("roformer", SMALL["roformer"], tokenizer, seed=5) for _ in range(2))
    other = build_masked_lm("roformer", SMALL["roformer"], tokenizer, seed=6)
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), again.get_weights(), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first.get_weights(), other.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("model_type", "overrides", "rule"),
    [
        ("gpt2", {}, "'gpt2', of which this project has none"),
        ("robreta", {}, "did you mean 'roberta'"),
        ("mra", {}, "PyTorch's own class answers zeros"),
        ("modernbert", {"hidden_activation": "nope"}, "activations that this project's encoder has"),
        ("bert", {"hiden_size": 3}, "Way out: use one of hidden_size"),
        ("bert", {"hidden_size": 3}, "can be built"),
        ("bert", {"hidden_act": "nope"}, "can be built"),
        ("roformer", {"num_attention_heads": 5}, "can be built"),
        ("bert", {"vocab_size": 10}, "every id of the tokenizer"),
    ],
)
def test_models_that_cannot_be_built(model_type, overrides, rule, tokenizer):
    with pytest.raises(PipelineError, match=rule) as refusal:
        build_masked_lm(model_type, overrides, tokenizer, seed=1)
    # What is wrong with a setting is wrong usage, whether the configuration or the model itself refuses it.
    assert refusal.value.exit_code == (1 if "can be built" in rule else 2)


def test_every_refusal_names_the_architectures(tokenizer):
    with pytest.raises(ConfigError) as refusal:
        build_masked_lm("t5", {}, tokenizer, seed=1)
    assert all(model_type in refusal.value.remedy for model_type in ARCHITECTURES)


@pytest.mark.parametrize(
    ("vocabulary", "fits"), [(50, True), (52, True), (49, False), (64, True), (65, False), (128, False), (500, False)]
)
def test_a_model_goes_with_its_tokenizer(vocabulary, fits, roberta, tokenizer):
    config = type(roberta.config)(vocab_size=vocabulary)
    if fits:
        require_vocabulary(config, tokenizer)
    else:
        with pytest.raises(ModelError, match=rf"50 tokens for a model with a vocabulary of {vocabulary}"):
            require_vocabulary(config, tokenizer)
