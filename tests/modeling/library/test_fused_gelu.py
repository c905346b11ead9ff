"""The fused GELU equals Keras', in value and gradient, and takes its place in a model for a while."""

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.library.fused_gelu import fused_gelu, gelu
from tests.modeling.tiny_models import random_model, token_batch


def value_and_gradient(function, values):
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = function(values)
    return result, tape.gradient(result, values)


def test_equals_keras():
    values = tf.constant(np.concatenate([np.linspace(-9, 9, 1001), [-1e30, -40.0, 0.0, 40.0, 1e30]]), tf.float32)
    for ours, theirs in zip(
        value_and_gradient(gelu, values), value_and_gradient(tf.keras.activations.gelu, values), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_narrow_types_are_the_rounded_result(dtype):
    values = tf.cast(tf.linspace(-6.0, 6.0, 101), dtype)
    expected = value_and_gradient(gelu, tf.cast(values, tf.float32))
    for ours, exact in zip(value_and_gradient(gelu, values), expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(tf.cast(ours, tf.float32), tf.cast(tf.cast(exact, dtype), tf.float32))


@pytest.mark.parametrize("model_type", ["distilbert", "roberta", "xlm"])
def test_a_model_uses_it_for_a_while(model_type):
    model = random_model(model_type, **({"gelu_activation": True} if model_type == "xlm" else {}))
    inputs = token_batch()
    before = model(inputs).logits

    def erfs():
        graph = tf.function(lambda: model(inputs).logits).get_concrete_function().graph
        return sum(operation.type in ("Erf", "Erfc") for operation in graph.get_operations())

    assert erfs() > 0
    with fused_gelu(model):
        assert erfs() == 0
        np.testing.assert_allclose(model(inputs).logits, before, atol=1e-5)
    assert erfs() > 0
