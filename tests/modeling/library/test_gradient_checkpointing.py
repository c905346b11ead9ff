"""Encoder layers computed again give the gradients of layers that keep their values, for every architecture."""

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.library.gradient_checkpointing import encoder_layers, recomputed_layers
from components.training.optimizer import AdamW
from components.training.training_model import MaskedLMTraining
from tests.modeling.tiny_models import BATCH, SHORTEST_BATTERY, all_slow_but, random_model, token_batch

PREDICTIONS = 3


def a_batch():
    inputs = {name: tf.constant(value) for name, value in token_batch().items()}
    labels = np.full((BATCH, inputs["input_ids"].shape[1]), -100, np.int32)
    labels[:, [1, 4, 6]] = inputs["input_ids"].numpy()[:, [1, 4, 6]]
    return inputs, tf.constant(labels)


def gradients_of(model, **settings):
    training = MaskedLMTraining(model, PREDICTIONS, **settings)
    training.compile(optimizer=AdamW(1e-3))
    compute = tf.function(training.accumulated_gradients, jit_compile=settings.get("compiled", False))
    total, gradients = compute(a_batch(), tf.constant(1.0))
    return float(total), gradients


def assert_same(model, one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for first, second, variable in zip(one[1], other[1], model.trainable_variables, strict=True):
        assert (first is None) == (second is None), variable.name
        if first is not None:
            np.testing.assert_allclose(first, second, rtol=1e-3, atol=2e-5, err_msg=variable.name)


QUICK = ("xlm",)
"""Layers in two lists."""


@pytest.mark.parametrize("model_type", all_slow_but(QUICK, battery=SHORTEST_BATTERY))
def test_gradients_are_those_of_layers_that_keep_their_values(model_type, monkeypatch):
    """With dropout: the second computation drops what the first one dropped."""
    tf.random.set_seed(0)
    dropout = {"hidden_dropout_prob": 0.2} if model_type in ("albert", "mobilebert") else {}  # they have none
    model = random_model(model_type, **dropout)
    if model_type == "flaubert":
        model.transformer.layerdrop = 0.0
    recomputed = gradients_of(model, gradient_checkpointing=True)
    monkeypatch.setattr(tf, "recompute_grad", lambda function: function)
    assert_same(model, recomputed, gradients_of(model, gradient_checkpointing=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{}, {"compiled": True}, {"accumulation_steps": 2}],
    ids=str,
)
def test_without_dropout_they_are_those_of_the_plain_call(settings):
    model = random_model("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    assert_same(model, gradients_of(model), gradients_of(model, gradient_checkpointing=True, **settings))


@pytest.mark.slow
def test_layers_compute_twice():
    model, calls = random_model("bert"), []
    layer = encoder_layers(model)[0]
    intermediate = layer.intermediate.call
    layer.intermediate.call = lambda *args, **kwargs: calls.append(1) or intermediate(*args, **kwargs)
    gradients_of(model)
    plain = len(calls)  # as often as TensorFlow traces
    gradients_of(model, gradient_checkpointing=True)
    assert len(calls) == 3 * plain > 0


def test_two_layers_drop_differently():
    """Although their dropouts are the first ones of each."""
    model = random_model("bert")
    first, second = encoder_layers(model)
    second.set_weights(first.get_weights())
    hidden = tf.random.normal((1, 4, 32))
    with recomputed_layers(model, tf.constant([1, 2], tf.uint32)):
        outputs = [
            layer(hidden, None, None, None, None, None, False, training=True)[0] for layer in (first, second, first)
        ]
    assert not np.allclose(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2])


@pytest.mark.slow
def test_the_model_stays_ordinary():
    model = random_model("albert")
    before = model(token_batch()).logits
    gradients_of(model, gradient_checkpointing=True)
    assert not any("call" in vars(layer) for layer in model.submodules)
    np.testing.assert_array_equal(model(token_batch()).logits, before)
