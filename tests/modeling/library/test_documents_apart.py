"""Packed documents don't see each other, and what would let them is refused. (Every architecture: the battery.)"""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.configuration import require_packable
from components.modeling.library.documents_apart import keep_documents_apart, position_ids
from components.modeling.library.gradient_checkpointing import recomputed_layers
from components.training.optimizer import AdamW
from components.training.training_model import MaskedLMTraining
from foundation.errors import ConfigError
from tests.modeling.tiny_models import LENGTH, VOCABULARY, all_slow_but, random_model

DOCUMENTS = np.array([[1] * 7 + [2] * 9, [1] * 4 + [2] * 8 + [0] * 4], np.int16)
"""(2, LENGTH)"""
MASK = 4


def tokens(seed=0):
    ids = np.random.default_rng(seed).integers(5, VOCABULARY - 1, DOCUMENTS.shape).astype(np.int32)
    return np.where(DOCUMENTS == 0, 1, ids)


def logits_of(model, ids, documents=DOCUMENTS):
    inputs = {"input_ids": tf.constant(ids), "attention_mask": tf.constant(documents)}
    positions = position_ids(model, documents)
    if positions is not None:
        inputs["position_ids"] = tf.constant(positions)
    if "call" not in vars(getattr(model, model.base_model_prefix)):
        keep_documents_apart(model)
    return model(inputs).logits.numpy()


def changed(ids, row=0, document=1):
    """Other tokens, the mask token among them, in one document."""
    other = ids.copy()
    inside = DOCUMENTS[row] == document
    other[row, inside] = np.where(np.arange(inside.sum()) % 2, MASK, (other[row, inside] - 5 + 1) % 90 + 5)
    return other


@pytest.mark.parametrize("name", all_slow_but((), ["bert", "flaubert", "xlm"]))
def test_layers_that_are_computed_again_keep_them_apart(name):
    """While they are, for the gradients, and afterwards."""
    none = (
        {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        if name == "bert"
        else {"dropout": 0.0, "attention_dropout": 0.0}
    )
    model = random_model(name, **none)
    ids = tokens()
    plain = logits_of(model, ids)
    with recomputed_layers(model, tf.constant([1, 2], tf.uint32)):
        before, after = logits_of(model, ids), logits_of(model, changed(ids))
    np.testing.assert_allclose(before, plain, atol=1e-5)
    np.testing.assert_array_equal(before[0, 7:], after[0, 7:])
    np.testing.assert_array_equal(before[1], after[1])
    np.testing.assert_array_equal(plain, logits_of(model, ids))
    np.testing.assert_array_equal(plain[0, 7:], logits_of(model, changed(ids))[0, 7:])

    if name == "flaubert":
        model.transformer.layerdrop = 0.0
    inputs = {"input_ids": tf.constant(ids), "attention_mask": tf.constant(DOCUMENTS)}
    if (positions := position_ids(model, DOCUMENTS)) is not None:
        inputs["position_ids"] = tf.constant(positions)
    batch = inputs, tf.constant(np.where(np.arange(LENGTH) % 5 == 1, ids, -100).astype(np.int32))
    gradients = []
    for recomputed in (False, True):
        training = MaskedLMTraining(model, 4, gradient_checkpointing=recomputed)
        training.compile(optimizer=AdamW(1e-3))
        gradients.append(tf.function(training.accumulated_gradients)(batch, tf.constant(1.0))[1])
    for one, other, variable in zip(*gradients, model.trainable_variables, strict=True):
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5, err_msg=variable.name)


@pytest.mark.parametrize("name", ["bert", "deberta", "xlm"])
def test_a_plain_mask_means_what_it_did(name):
    inputs = {"input_ids": tokens(), "attention_mask": (DOCUMENTS > 0).astype(np.int32)}
    plain = random_model(name)(inputs).logits.numpy()
    model = random_model(name)
    keep_documents_apart(model)
    chosen = DOCUMENTS > 0
    np.testing.assert_allclose(model(inputs).logits.numpy()[chosen], plain[chosen], atol=1e-6)


def refused(config, reason):
    with pytest.raises(ConfigError, match=rf"preprocess\.packing packed.*{config.model_type}.*{reason}.*documents"):
        require_packable(config)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("convbert", {}, "convolutions"),
        ("deberta-v2", {"conv_kernel_size": 3, "conv_act": "gelu"}, "conv_kernel_size"),
        ("esm", {"token_dropout": True, "mask_token_id": MASK}, "token_dropout"),
        ("mobilebert", {}, "trigram"),
    ],
)
def test_documents_that_would_mix_are_refused(name, values, reason):
    """The refusal is not a guess: without it, a change in one document changes another."""
    model = random_model(name, **values)
    refused(model.config, reason)
    before, after = (logits_of(model, each) for each in (tokens(), changed(tokens())))
    assert np.abs(before[0, 7:] - after[0, 7:]).max() > 1e-4


@pytest.mark.parametrize(
    ("name", "reason"), [("distilbert", "one mask a block"), ("funnel", "pools"), ("longformer", "one mask a block")]
)
def test_architectures_that_take_no_such_mask_are_refused(name, reason):
    model = random_model(name)
    refused(model.config, reason)
    three = DOCUMENTS[:, :, None] == DOCUMENTS[:, None, :]
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        model({"input_ids": tokens(), "attention_mask": three.astype(np.int32)})


def test_values_rotated_by_their_place_are_refused():
    refused(random_model("roformer", rotary_value=True).config, "rotary_value")


def test_positions_begin_anew():
    bert, roberta = (random_model(name) for name in ("bert", "roberta"))
    documents = np.array([[1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1]], np.int16)
    assert position_ids(bert, documents).tolist() == [[0, 1, 0, 1, 2, 0], [0, 1, 2, 3, 4, 5]]
    assert position_ids(roberta, documents).tolist() == [[2, 3, 2, 3, 4, 1], [2, 3, 4, 5, 6, 7]]
    roformer = random_model("roformer")
    assert "position_ids" not in inspect.signature(roformer.call).parameters
    assert position_ids(roformer, documents) is None
