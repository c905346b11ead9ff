"""The signature in which a request chooses the language answers what models of those languages answer."""

import copy

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.new_model import new_masked_lm
from serving.graph.batching import InGraphBatching
from serving.graph.token_signatures import TokenSignatures
from tests.modeling.tiny_models import random_model, token_batch

MASK, LONGEST = 4, 32


def signatures_of(model, batching=None):
    return TokenSignatures(model, MASK, top_k=3, max_sequence_length=LONGEST, batching=batching)


@pytest.fixture(scope="module")
def asked():
    """Rows of unlike lengths, with two masks and one."""
    batch = token_batch()
    batch["input_ids"][:, 3] = batch["input_ids"][0, 9] = MASK
    return batch


@pytest.fixture(scope="module")
def answers(asked):
    """Of one model in each of its languages, English and German, by its signature without a choice."""
    german = random_model("xmod", num_hidden_layers=1)
    config = copy.deepcopy(german.config)
    config.default_language = "en_XX"
    english = new_masked_lm(config)
    for ours, theirs in zip(english.weights, german.weights, strict=True):
        ours.assign(theirs)
    modules = [signatures_of(english), signatures_of(german)]
    found = [{name: value.numpy() for name, value in module.tokens(**asked).items()} for module in modules]
    assert np.abs(found[0]["score"] - found[1]["score"]).max() > 1e-4
    return found


BATCHED = pytest.param(InGraphBatching(4, 2, 1000), marks=pytest.mark.slow, id="in batches")


@pytest.fixture(scope="module", params=[pytest.param(None, id="each by itself"), BATCHED])
def module(request):
    return signatures_of(random_model("xmod", num_hidden_layers=1), request.param)


@pytest.mark.parametrize("languages", [[0, 1], [1, 0], [1], [0, 0]])
def test_each_row_is_answered_in_its_language(module, asked, answers, languages):
    outputs = module.tokens_in_language(**asked, language_ids=tf.constant(languages))
    for row, language in enumerate(languages * 2 if len(languages) == 1 else languages):
        expected = answers[language]
        np.testing.assert_array_equal(outputs["position"][row], expected["position"][row])
        np.testing.assert_array_equal(outputs["token"][row], expected["token"][row])
        np.testing.assert_allclose(outputs["score"][row], expected["score"][row], rtol=1e-5)


@pytest.mark.parametrize(
    ("languages", "rule"),
    [([2, 0], "from 0 to 1"), ([-1], "from 0 to 1"), ([0, 0, 0], "one value for each text, or a single one")],
)
def test_other_numbers_are_refused(module, asked, languages, rule):
    with pytest.raises(tf.errors.InvalidArgumentError, match=rule):
        module.tokens_in_language(**asked, language_ids=tf.constant(languages))


@pytest.mark.slow
def test_only_models_with_languages_have_it(module):
    assert module.signatures().keys() == {"serving_default", "tokens", "logits", "tokens_in_language"}
    assert signatures_of(random_model("modernbert")).signatures().keys() == {"serving_default", "tokens", "logits"}


@pytest.mark.slow
def test_it_is_saved(module, asked, answers, tmp_path):
    module.save(tmp_path / "1")
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["tokens_in_language"]
    outputs = served(**{name: tf.constant(ids) for name, ids in asked.items()}, language_ids=tf.constant([0]))
    np.testing.assert_allclose(outputs["score"], answers[0]["score"], rtol=1e-5)
