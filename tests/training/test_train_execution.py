"""The train step in other precisions, with accumulated, averaged and recomputed steps, and over two devices."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.contract.artifacts import Blocks, Tokenizer
from components.train import Train
from components.training.devices import Devices
from components.training.params import TrainParams
from foundation.errors import ConfigError
from tests.finished import finish
from tests.training.tiny_training import SIZES, small_step, train, weights_of, write_blocks, write_tokenizer

ROOT = Path(__file__).resolve().parents[2]
NO_DROPOUT = {**SIZES, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
EXACT = {"model_config": NO_DROPOUT, "max_grad_norm": 0.1, "precision": "float32"}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return write_blocks(tmp_path_factory.mktemp("blocks"), train=42, test=9)


@pytest.fixture(scope="module")
def plain(blocks, tokenizer, tmp_path_factory):
    """Batches of 4, without dropout."""
    return train(blocks, tokenizer, tmp_path_factory.mktemp("plain"), **EXACT)


def assert_close(first, second):
    for one, other in zip(weights_of(first.model_directory), weights_of(second.model_directory), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


def test_the_report_says_what_was_picked(blocks, tokenizer, tmp_path):
    trained, devices = train(blocks, tokenizer, tmp_path / "out", epochs=1), Devices.visible()
    report = trained.read_json("report.json")
    assert report["execution"] == {
        "precision": "mixed_bfloat16" if devices.bfloat16 else "float32",
        "jit_compile": False,
        "replicas": 1,
        "devices": ["CPU:0"],
        "chosen_by_auto": dict.fromkeys(("precision", "jit_compile", "strategy"), str(devices)),
        "gradient_bytes": 4 * report["trained_parameters"],
    }
    assert report["blocks_a_step"] == 4


@pytest.mark.slow
def test_a_checkpoint_is_an_ordinary_one_whatever_the_precision(plain, blocks, tokenizer, tmp_path, capsys):
    """Everything at once: bfloat16, XLA, accumulated, recomputed and averaged."""
    settings = {"precision": "mixed_bfloat16", "jit_compile": True, "gradient_checkpointing": True, "ema_decay": 0.9}
    trained = train(
        blocks, tokenizer, tmp_path / "out", batch_size=2, gradient_accumulation_steps=2, warmup_ratio=0.2, **settings
    )
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    assert f"mixed_bfloat16, XLA, CPU:0 (auto: {Devices.visible()})" in capsys.readouterr().out
    assert {weight.dtype for weight in weights_of(trained.model_directory)} == {np.dtype(np.float32)}
    config, plain_config = (
        json.loads((directory / "config.json").read_text())
        for directory in (trained.model_directory, plain.model_directory)
    )
    assert config == {**plain_config, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    rows = trained.read_json("history.json")
    assert rows[1]["loss"] < rows[0]["loss"]
    assert rows[-1]["step"] == trained.read_json("report.json")["steps"] == 20


def test_accumulated_batches_train_as_one(plain, blocks, tokenizer, tmp_path):
    """The same blocks, masks and number of steps."""
    settings = {"batch_size": 2, "gradient_accumulation_steps": 2}
    accumulated = train(blocks, tokenizer, tmp_path / "out", **EXACT, **settings)
    assert_close(accumulated, plain)
    losses, expected = (
        [row["loss"] for row in checkpoint.read_json("history.json")] for checkpoint in (accumulated, plain)
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert accumulated.read_json("report.json")["steps"] == 20


def test_recomputed_layers_train_as_others(plain, blocks, tokenizer, tmp_path):
    assert_close(train(blocks, tokenizer, tmp_path / "out", **EXACT, gradient_checkpointing=True), plain)


@pytest.mark.slow
def test_the_averaged_model_is_validated_and_saved(plain, blocks, tokenizer, tmp_path):
    """What the history says of the last epoch holds for the model that is saved."""
    averaged = train(blocks, tokenizer, tmp_path / "out", **EXACT, ema_decay=0.99)
    rows, plain_rows = averaged.read_json("history.json"), plain.read_json("history.json")
    assert [row["loss"] for row in rows] == [row["loss"] for row in plain_rows]
    assert rows[-1]["val_loss"] != plain_rows[-1]["val_loss"]
    # One more epoch at a rate that changes nothing validates what was saved.
    params = {"pretrained": str(averaged.model_directory), "model_type": None, "model_config": {}, "epochs": 1}
    params["precision"] = "float32"
    again = train(blocks, tokenizer, tmp_path / "again", learning_rate=1e-12, weight_decay=0.0, **params)
    assert again.read_json("history.json")[0]["val_loss"] == pytest.approx(rows[-1]["val_loss"], rel=1e-5)


@pytest.mark.slow
def test_two_devices_train_as_one(plain, blocks, tokenizer, tmp_path):
    """In a process of its own: devices are fixed early."""
    step = small_step(blocks, tokenizer, **EXACT, strategy="mirrored", batch_size=4)
    (tmp_path / "out").mkdir()
    code = (
        "from pathlib import Path\nfrom foundation.keras_choice import choose_keras\n"
        "choose_keras()\nimport tensorflow as tf\n"
        "devices = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0], devices)\n"
        "from components.contract.artifacts import Blocks, Tokenizer\n"
        "from components.train import Train, TrainParams\n"
        f"step = Train(Blocks(Path({str(blocks.directory)!r})), Tokenizer(Path({str(tokenizer.directory)!r})),"
        f" {step.params!r})\n"
        f"step.preflight(); step.run(Path({str(tmp_path / 'out')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "float32, no XLA, 2 replicas" in done.stdout
    mirrored = finish(tmp_path / "out", type(plain))
    assert mirrored.read_json("report.json")["execution"]["devices"] == ["CPU:0", "CPU:1"]
    assert_close(mirrored, plain)
    last, expected = (checkpoint.read_json("history.json")[-1] for checkpoint in (mirrored, plain))
    for name in ("loss", "val_loss", "gradient_norm", "learning_rate"):
        assert last[name] == pytest.approx(expected[name], rel=1e-4)
    step_losses, expected_losses = (
        [row["loss"] for row in checkpoint.read_json("history_steps.json")] for checkpoint in (mirrored, plain)
    )
    np.testing.assert_allclose(step_losses, expected_losses, rtol=1e-4)


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"gradient_accumulation_steps": 0}, r"train\.gradient_accumulation_steps must be"),
        ({"lr_scheduler_type": "warmup_stable_decay", "decay_ratio": 0.0}, r"train\.decay_ratio must be"),
        ({"min_lr_ratio": 1.0}, r"train\.min_lr_ratio must be"),
        ({"min_lr_ratio": 0.1, "lr_scheduler_type": "constant"}, r"train\.min_lr_ratio must be set only with"),
        ({"ema_decay": 1.0}, r"train\.ema_decay must be"),
    ],
)
def test_params_out_of_range(params, rule):
    with pytest.raises(ConfigError, match=rule):
        TrainParams(model_type="bert", **params)


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"precision": "mixed_float16"}, "train.precision mixed_float16 on 1 CPU"),
        ({"strategy": "mirrored"}, "train.strategy mirrored on 1 CPU"),
        ({"jit_compile": True, "model_type": "longformer"}, "train.jit_compile true for longformer"),
        (
            {"jit_compile": True, "model_type": "deberta", "model_config": {"relative_attention": True}},
            "train.jit_compile true for deberta with relative attention",
        ),
        (
            {"precision": "mixed_bfloat16", "jit_compile": True, "model_type": "esm"},
            "train.precision mixed_bfloat16 for esm",
        ),
    ],
)
def test_refused_before_any_work(params, rule):
    with pytest.raises(ConfigError, match=rule):
        Train(Blocks(None), Tokenizer(None), TrainParams(**{"model_type": "bert", **params})).preflight()


def test_too_much_accumulation(blocks, tokenizer, tmp_path):
    with pytest.raises(ConfigError, match=r"gradient_accumulation_steps 11 with train\.batch_size 4, for 42"):
        train(blocks, tokenizer, tmp_path / "out", gradient_accumulation_steps=11)
    assert not list((tmp_path / "out").iterdir())
