"""The train step on a real two-layer model and a corpus that it can learn."""

import csv
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.contract.artifacts import Blocks, Tokenizer
from components.train import Train
from components.training.inputs import PlannedInputs
from components.training.params import TrainParams
from foundation.errors import ConfigError, DataError, HubError, ModelError, PipelineError
from tests.modeling.tiny_models import MODEL_TYPES
from tests.training.tiny_training import (
    BLOCK_SIZE,
    SIZES,
    SMALL,
    VOCABULARY,
    equal,
    finish,
    train,
    weights_of,
    write_blocks,
    write_tokenizer,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return write_blocks(tmp_path_factory.mktemp("blocks"), train=42, test=9)


@pytest.fixture(scope="module")
def checkpoint(blocks, tokenizer, tmp_path_factory):
    return train(blocks, tokenizer, tmp_path_factory.mktemp("train") / "out", warmup_ratio=0.2)


def test_files(checkpoint):
    names = {path.name for path in checkpoint.directory.iterdir()}
    history = {f"history{kind}.{ending}" for kind in ("", "_steps") for ending in ("json", "csv")}
    assert names == {"initial", "model", "state", "logs", "report.json", "manifest.json"} | history
    report = checkpoint.read_json("report.json")
    assert (report["steps"], report["warmup_steps"], report["epochs"], report["block_size"]) == (20, 4, 2, BLOCK_SIZE)
    assert report["architecture"] == "TFRoFormerForMaskedLM"
    assert checkpoint.summary == report["summary"]


def test_history(checkpoint):
    rows = checkpoint.read_json("history.json")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[1]["loss"] < rows[0]["loss"]
    assert all(row["val_loss"] > 0 and row["seconds"] > 0 and row["tokens_per_second"] > 0 for row in rows)
    # 4 steps up to 1e-3, then 16 down to 0: the 10th step is made at 1e-3 * (1 - 5 / 16), the 20th at 1e-3 / 16.
    np.testing.assert_allclose([row["learning_rate"] for row in rows], [1e-3 * 11 / 16, 1e-3 / 16], rtol=1e-5)
    with open(checkpoint.directory / "history.csv", encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == list(rows[0])
    assert float(read[1]["loss"]) == rows[1]["loss"]


def test_stock_transformers_loads_both_models(checkpoint, tokenizer):
    from transformers import AutoTokenizer, pipeline

    assert not equal(weights_of(checkpoint.initial_directory), weights_of(checkpoint.model_directory))
    loaded = AutoTokenizer.from_pretrained(checkpoint.model_directory)
    assert loaded.get_vocab() == tokenizer.load().get_vocab()
    fill = pipeline("fill-mask", str(checkpoint.model_directory), framework="tf", dtype=None)
    assert len(fill("word1 word2 <mask> word4")) == 5


def test_the_first_model_is_the_one_that_the_seed_gives(checkpoint, tokenizer):
    from components.modeling.checkpoint import build_masked_lm, load_masked_lm

    built = build_masked_lm("roformer", SIZES, tokenizer.load(), seed=42)
    assert equal(load_masked_lm(checkpoint.initial_directory).get_weights(), built.get_weights())


def test_equal_seeds_give_equal_weights(checkpoint, blocks, tokenizer, tmp_path):
    again = train(blocks, tokenizer, tmp_path / "again", warmup_ratio=0.2)
    assert equal(weights_of(checkpoint.model_directory), weights_of(again.model_directory))
    other = train(blocks, tokenizer, tmp_path / "other", warmup_ratio=0.2, seed=1)
    assert not equal(weights_of(checkpoint.model_directory), weights_of(other.model_directory))


@pytest.mark.slow
def test_it_learns(tokenizer, tmp_path):
    many = write_blocks(tmp_path / "blocks", train=600, test=30)  # every token often: it is to learn, not to memorise
    learnt = train(many, tokenizer, tmp_path / "out", epochs=8, learning_rate=3e-3, max_grad_norm=1.0)
    last = learnt.read_json("history.json")[-1]
    assert last["val_loss"] < 0.5 * math.log(VOCABULARY)


def test_starting_from_a_checkpoint(checkpoint, blocks, tokenizer, tmp_path):
    source = str(checkpoint.model_directory)
    params = {"pretrained": source, "model_type": None, "model_config": {}, "epochs": 1}
    further = train(blocks, tokenizer, tmp_path / "out", **params)
    assert equal(weights_of(further.initial_directory), weights_of(source))
    assert further.read_json("report.json")["started_from"] == source


@pytest.mark.slow
def test_max_steps_ends_within_an_epoch_and_runs_beyond_the_epochs(blocks, tokenizer, tmp_path):
    short = train(blocks, tokenizer, tmp_path / "short", max_steps=3)
    assert [row["epoch"] for row in short.read_json("history.json")] == [1]
    long = train(blocks, tokenizer, tmp_path / "long", max_steps=23)
    rows = long.read_json("history.json")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    np.testing.assert_allclose(rows[-1]["learning_rate"], 1e-3 / 23, rtol=1e-5)


def test_few_blocks(tokenizer, tmp_path, capsys):
    """Fewer than a batch, and none to validate on."""
    (tmp_path / "blocks").mkdir()
    few = write_blocks(tmp_path / "blocks", train=3, test=0)
    rows = train(few, tokenizer, tmp_path / "out", epochs=1).read_json("history.json")
    assert rows[0]["val_loss"] is None
    assert capsys.readouterr().out.count("epoch 1/1: loss") == 1


def test_no_block(tokenizer, tmp_path):
    (tmp_path / "blocks").mkdir()
    none = write_blocks(tmp_path / "blocks", train=0, test=0)
    with pytest.raises(DataError, match="at least one block"):
        train(none, tokenizer, tmp_path / "out")


def test_a_loss_that_is_no_number_names_the_step(checkpoint, blocks, tokenizer, tmp_path):
    from transformers import TFAutoModelForMaskedLM

    broken = TFAutoModelForMaskedLM.from_pretrained(checkpoint.model_directory)
    broken.weights[0].assign(broken.weights[0] * 1e38)  # finite, but their gradients aren't
    broken.save_pretrained(tmp_path / "broken")
    params = {"pretrained": str(tmp_path / "broken"), "model_type": None, "model_config": {}}
    with pytest.raises(ModelError, match="NaN or infinity, from step 2 of 20 on"):
        train(blocks, tokenizer, tmp_path / "out", **params)
    assert not (tmp_path / "out" / "model").exists()


def test_blocks_longer_than_the_model(blocks, tokenizer, tmp_path):
    short = SIZES | {"max_position_embeddings": 8}
    with pytest.raises(ConfigError, match=r"8 tokens for this roformer. Received: blocks of 16 tokens"):
        train(blocks, tokenizer, tmp_path / "out", model_config=short)


def test_a_tokenizer_of_another_model(checkpoint, blocks, tokenizer, tmp_path):
    from components.modeling.checkpoint import build_masked_lm

    other = build_masked_lm("roformer", SIZES | {"vocab_size": 400}, tokenizer.load(), seed=1)
    other.save_pretrained(tmp_path / "other")
    params = {"pretrained": str(tmp_path / "other"), "model_type": None, "model_config": {}}
    with pytest.raises(ModelError, match=r"40 tokens for a model with a vocabulary of 400"):
        train(blocks, tokenizer, tmp_path / "out", **params)


def test_a_tokenizer_of_the_same_size_with_other_words(checkpoint, blocks, tokenizer, tmp_path):
    """What the pipeline trains itself is known only when it is there."""
    shutil.copytree(tokenizer.directory / "tokenizer", tmp_path / "made" / "tokenizer")
    path = tmp_path / "made" / "tokenizer" / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["word3"], content["model"]["vocab"]["word4"] = 9, 8
    path.write_text(json.dumps(content))
    params = {"pretrained": str(checkpoint.model_directory), "model_type": None, "model_config": {}}
    with pytest.raises(ModelError, match=r"2 of 40 ids .*: 8 is 'word4', not 'word3', 9 is 'word3', not 'word4'\. "):
        train(blocks, finish(tmp_path / "made", Tokenizer), tmp_path / "out", **params)
    assert not (tmp_path / "out" / "initial").exists()


def test_a_warm_up_longer_than_training(blocks, tokenizer, tmp_path):
    with pytest.raises(ConfigError, match="20 for 20 steps"):
        train(blocks, tokenizer, tmp_path / "out", warmup_steps=20)


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"model_type": None, "model_config": {}}, "Received: neither"),
        ({"pretrained": "some/model"}, "Received: both"),
        (
            {"pretrained": "some/model", "model_type": None},
            r"train\.model_config must be set only with train\.model_type",
        ),
        ({"revision": "main"}, r"train\.revision must be set only with train\.pretrained"),
        ({"epochs": 0}, r"train\.epochs must be"),
        ({"epochs": 1_000_000_000}, r"train\.epochs must be a whole number from 1 to 100,000"),
        ({"max_steps": 0}, r"train\.max_steps must be"),
        ({"batch_size": -1}, r"train\.batch_size must be"),
        ({"learning_rate": 0.0}, r"train\.learning_rate must be"),
        ({"learning_rate": math.nan}, r"train\.learning_rate must be"),
        ({"learning_rate": 2e5}, r"train\.learning_rate must be"),
        ({"warmup_ratio": 1.0}, r"train\.warmup_ratio must be"),
        ({"warmup_steps": -1}, r"train\.warmup_steps must be"),
        ({"weight_decay": -0.1}, r"train\.weight_decay must be"),
        ({"adam_beta1": 1.0}, r"train\.adam_beta1 must be"),
        ({"adam_epsilon": 0.0}, r"train\.adam_epsilon must be"),
        ({"max_grad_norm": math.inf}, r"train\.max_grad_norm must be"),
        ({"mlm_probability": 0.0}, r"train\.mlm_probability must be"),
        ({"mlm_probability": 15}, r"train\.mlm_probability must be"),
        ({"mlm_probability_end": 0.0}, r"train\.mlm_probability_end must be"),
        ({"eval_mlm_probability": 1.1}, r"train\.eval_mlm_probability must be"),
        ({"seed": -1}, r"train\.seed must be"),
        ({"early_stopping_patience": 0}, r"train\.early_stopping_patience must be"),
        ({"early_stopping_patience": 1, "early_stopping_threshold": -1.0}, r"train\.early_stopping_threshold must be"),
        ({"early_stopping_threshold": 0.1}, r"threshold must be set only with train\.early_stopping_patience"),
        ({"divergence_factor": 1.0}, r"train\.divergence_factor must be"),
        ({"checkpoint_every_steps": 0}, r"train\.checkpoint_every_steps must be"),
        ({"logging_steps": 0}, r"train\.logging_steps must be"),
        ({"peak_tflops": 0.0}, r"train\.peak_tflops must be"),
    ],
)
def test_params_out_of_range(params, rule):
    with pytest.raises(ConfigError, match=rule):
        TrainParams(**{**SMALL, **params})


def preflight(**params):
    Train(Blocks(None), Tokenizer(None), TrainParams(**params)).preflight()


def test_preflight(checkpoint, tmp_path):
    preflight(model_type="roberta", model_config={"num_hidden_layers": 1})
    preflight(pretrained=str(checkpoint.model_directory))
    with pytest.raises(ConfigError, match="masked language model of"):
        preflight(model_type="gpt2")
    with pytest.raises(ConfigError, match="unknown key 'layers'"):
        preflight(model_type="bert", model_config={"layers": 1})
    with pytest.raises(ModelError, match=r"must hold a config\.json"):
        preflight(pretrained=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ModelError, match="masked language model of"):
        preflight(pretrained=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match="must hold its weights"):
        preflight(pretrained=str(tmp_path))
    with pytest.raises(HubError):
        preflight(pretrained="a/b/c")
    with pytest.raises(ConfigError, match="hidden size 768, 5 heads"):
        preflight(model_type="roformer", model_config={"num_attention_heads": 5})


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_preflight_takes_every_architectures_defaults(model_type):
    preflight(model_type=model_type)


@pytest.mark.parametrize(("model_type", "longest"), [("roformer", 1536), ("roberta", 510)])
def test_preflight_knows_the_length_of_the_blocks(model_type, longest):
    params = TrainParams(model_type=model_type)
    Train(Blocks(None), Tokenizer(None), params, PlannedInputs(block_size=longest)).preflight()
    with pytest.raises(ConfigError, match=f"at most the longest sequence of the model, {longest:,} tokens"):
        Train(Blocks(None), Tokenizer(None), params, PlannedInputs(block_size=longest + 1)).preflight()


def test_sources(checkpoint, tmp_path):
    def sources(**params):
        return Train(Blocks(None), Tokenizer(None), TrainParams(**params)).sources()

    assert sources(model_type="bert") == {}
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert sources(pretrained="some/model", revision=commit) == {"pretrained": commit}
    before = sources(pretrained=str(checkpoint.model_directory))
    assert sorted(before) == ["pretrained/config.json", "pretrained/tf_model.h5"]
    with pytest.raises(PipelineError):
        sources(pretrained=str(tmp_path))


def test_a_key_needs_no_heavy_library(checkpoint):
    """What a cached run asks of the step."""
    code = (
        "import sys\nfrom components.contract.artifacts import Blocks, Tokenizer\nfrom components.train import *\n"
        f"step = Train(Blocks(None), Tokenizer(None), TrainParams(pretrained={str(checkpoint.model_directory)!r}))\n"
        "step.sources()\nprint(sorted({'tensorflow', 'transformers', 'datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_whole_words_at_a_rate_that_falls(blocks, tokenizer, tmp_path):
    """The tokenizer of these tests marks no words: that is told before training."""
    params = {"mlm_probability": 0.5, "mlm_probability_end": 0.1, "eval_mlm_probability": 0.2}
    assert train(blocks, tokenizer, tmp_path / "rate", epochs=1, **params).read_json("history.json")[0]["val_loss"] > 0
    with pytest.raises(ConfigError, match=r"must mark where words begin.*where train\.whole_word_mask is true"):
        train(blocks, tokenizer, tmp_path / "words", whole_word_mask=True)
    assert not (tmp_path / "words" / "initial").exists()
