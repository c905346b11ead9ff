"""`train.language`: a checkpoint with adapters for each language is trained in one, and asked as a baseline."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from components.evaluation.baseline import Baseline
from components.evaluation.baseline_answers import load_baseline
from components.modeling.checkpoint import load_masked_lm, save_masked_lm
from components.modeling.scoring import score_masks
from foundation.errors import ConfigError, ModelError
from tests.modeling.tiny_models import random_model
from tests.training.tiny_training import VOCABULARY, small_step, train, write_blocks, write_tokenizer

PRETRAINED = {"model_type": None, "model_config": {}, "epochs": 1}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return write_blocks(tmp_path_factory.mktemp("blocks"), train=8, test=4)


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    """An X-MOD of two languages whose configuration chooses neither, as the published ones."""
    directory = tmp_path_factory.mktemp("xmod")
    model = random_model("xmod", num_hidden_layers=1, vocab_size=VOCABULARY, pad_token_id=1)
    save_masked_lm(model, tokenizer.load(), directory)
    config = json.loads((directory / "config.json").read_text())
    assert config.pop("default_language") == "de_DE"
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.fixture(scope="module")
def english(checkpoint, blocks, tokenizer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("train") / "out"
    return train(blocks, tokenizer, directory, **PRETRAINED, pretrained=str(checkpoint), language="en_XX")


def test_its_adapters_are_trained_and_those_of_others_stay(checkpoint, english):
    """The trained checkpoint names it."""
    assert json.loads((english.model_directory / "config.json").read_text())["default_language"] == "en_XX"
    before = load_file(checkpoint / "model.safetensors")
    after = load_file(english.model_directory / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    adapters = {name for name in before if "adapter_modules" in name}
    assert changed & adapters == {name for name in adapters if "en_XX" in name}
    assert changed - adapters


def test_a_baseline_that_names_none_is_asked_in_that_of_the_model(checkpoint):
    given = np.random.default_rng(0).integers(5, VOCABULARY, (2, 8)).astype(np.int32)
    asked = (given, np.ones_like(given), _masks(given))
    _, score = load_baseline(Baseline("it", "1", checkpoint=str(checkpoint), language="en_XX"))
    expected = score_masks(load_masked_lm(checkpoint, language="en_XX"), *asked, batch_size=2, k=3)
    np.testing.assert_array_equal(score(*asked, batch_size=2, k=3).log_probabilities, expected.log_probabilities)


@pytest.mark.parametrize(("language", "said"), [(None, "names none, either"), ("fr_XX", "is of fr_XX")])
def test_a_baseline_that_cannot_be_asked_in_it_is_refused_with_a_way_out(checkpoint, language, said):
    baseline = Baseline("the checkpoint", "1", checkpoint=str(checkpoint), language=language)
    with pytest.raises(ModelError, match=rf"of en_XX, de_DE whose config.json names no.*{said}.*--evaluate\.baseline"):
        load_baseline(baseline)


@pytest.mark.parametrize("language", [None, "fr_XX"])
def test_a_training_in_no_language_or_an_unknown_one_is_refused(checkpoint, blocks, tokenizer, tmp_path, language):
    with pytest.raises(ModelError, match=r"one that it has adapters for.*set --train\.language.*en_XX, de_DE"):
        small_step(blocks, tokenizer, **PRETRAINED, pretrained=str(checkpoint), language=language).run(tmp_path)


def test_a_checkpoint_without_languages_takes_none(blocks, tokenizer, tmp_path):
    save_masked_lm(random_model("roformer", vocab_size=VOCABULARY), tokenizer.load(), tmp_path / "model")
    (tmp_path / "out").mkdir()
    step = small_step(blocks, tokenizer, **PRETRAINED, pretrained=str(tmp_path / "model"), language="en_XX")
    with pytest.raises(ConfigError, match="only for a checkpoint with parts for each language"):
        step.run(tmp_path / "out")


def _masks(ids):
    """One mask in each row."""
    from components.masking.frozen_masks import FrozenMasks

    rows = np.arange(len(ids))
    return FrozenMasks(rows, np.full(len(ids), 3), ids[:, 3], np.full(len(ids), 4))
