"""Dropout that is a function of seed, step and place: its rates, its gradient, and every architecture's layers."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.library.adapter import as_masked_lm
from components.modeling.library.dropout import dropout_layers, dropped, keyed_dropout, step_key
from tests.modeling.tiny_models import all_slow_but, random_model, token_batch

SIDE = 1000
POSITIONS = tf.constant([[1, 4, 9], [0, 2, 3]])
WITHOUT_DROPOUT = ("albert", "esmc", "eurobert", "mobilebert", "modernbert", "nomic_bert", "rembert")
"""By their configuration's defaults."""
STATEFUL = ("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "StatefulUniform")


def key(seed=0, step=0):
    return step_key(seed, tf.constant(step))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.003])
def test_rate_and_scale(rate):
    kept = dropped(tf.ones((SIDE, SIDE)), rate, key(), 0).numpy()
    assert set(np.unique(kept)) == {np.float32(0), np.float32(1 / (1 - rate))}
    # Five standard deviations.
    assert abs(np.mean(kept == 0) - rate) < 5 * np.sqrt(rate * (1 - rate)) / SIDE


def test_rate_zero_and_one():
    ones = tf.ones((3, 4))
    np.testing.assert_array_equal(dropped(ones, 0.0, key(), 0), ones)
    np.testing.assert_array_equal(dropped(ones, 1.0, key(), 0), 0 * ones)


def test_elements_are_independent():
    """Neighbours, elements of one column, other calls, steps and seeds: all pairs are uncorrelated."""
    first = dropped(tf.ones((SIDE, SIDE)), 0.5, key(), 0).numpy() / 2
    others = [first[:, shift:] for shift in (1, 2, 4, 32, 512)] + [first[shift:] for shift in (1, 2, 8, 512)]
    others += [
        dropped(tf.ones((SIDE, SIDE)), 0.5, key(*place), call).numpy() / 2
        for place, call in (((), 1), ((), 2), ((1,), 0), ((0, 1), 0), ((0, 256), 0))
    ]
    for other in others:
        here = first[: other.shape[0], : other.shape[1]]
        together = np.mean((here - 0.5) * (other - 0.5)) * 4
        assert abs(together) < 5 / np.sqrt(other.size)
    for axis in (0, 1):
        # The number that stays in each row or column is binomial.
        spread = np.var(first.sum(axis=axis)) / (SIDE / 4)
        assert abs(spread - 1) < 5 * np.sqrt(2 / SIDE)


def test_the_gradient_passes_where_the_element_stayed():
    values = tf.random.stateless_normal((7, 11), (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(values)
        kept = dropped(values, 0.4, key(), 3)
        total = tf.reduce_sum(kept)
    np.testing.assert_allclose(tape.gradient(total, values), kept / values, rtol=1e-6)
    assert 0 < np.count_nonzero(kept) < 77


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_narrow_types_drop_the_same_elements(dtype):
    narrow = dropped(tf.ones((50, 50), dtype), 0.1, key(), 0)
    assert narrow.dtype == dtype
    expected = tf.cast(dropped(tf.ones((50, 50)), 0.1, key(), 0), dtype)
    np.testing.assert_array_equal(tf.cast(narrow, tf.float32), tf.cast(expected, tf.float32))


def test_keys_differ_by_seed_and_step():
    keys = [tuple(key(*place).numpy()) for place in itertools.product((0, 1, 2**32 - 1), (0, 1, 2))]
    assert len(set(keys)) == len(keys)
    assert keys[0] == tuple(key().numpy())


@pytest.mark.parametrize("model_type", all_slow_but({"distilbert", "modernbert", "roberta", "xlm"}))
def test_every_architecture_draws_by_key_alone(model_type):
    """Equal keys give equal outputs, other keys others, and the graph has no other source of chance."""
    model = random_model(model_type)
    inputs = {name: tf.constant(value) for name, value in token_batch().items()}

    @tf.function
    def outputs(key):
        return as_masked_lm(model).logits_at(inputs, POSITIONS, dropout_key=key)

    once = outputs(key(step=1))
    graph = outputs.get_concrete_function(key()).graph.as_graph_def()
    operations = [node for function in graph.library.function for node in function.node_def] + list(graph.node)
    assert not [node.name for node in operations if node.op in STATEFUL]
    np.testing.assert_array_equal(outputs(key(step=1)), once)
    if model_type not in WITHOUT_DROPOUT:
        assert np.abs(outputs(key(step=2)) - once).max() > 1e-3


@pytest.mark.parametrize("model_type", ["deberta", "funnel", "roberta"])
def test_the_model_stays_ordinary(model_type):
    model = random_model(model_type)
    inputs = {name: tf.constant(value) for name, value in token_batch().items()}
    before = model(inputs).logits
    with keyed_dropout(model, key()):
        np.testing.assert_array_equal(model(inputs).logits, before)
    assert not [layer for layer in dropout_layers(model) if "call" in vars(layer)]
    np.testing.assert_array_equal(model(inputs).logits, before)


def test_layers_and_repeated_calls_draw_apart():
    layers = tf.keras.Sequential([tf.keras.layers.Dropout(0.5), tf.keras.layers.Dropout(0.5)])
    ones = tf.ones((20, 20))
    with keyed_dropout(layers, key()):
        first, again = (layers.layers[0](ones, training=True) for _ in range(2))
        second = layers.layers[1](ones, training=True)
    assert len({value.numpy().tobytes() for value in (first, again, second)}) == 3


def test_within_a_compiled_step_and_for_any_length():
    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec((2,), tf.uint32), tf.TensorSpec((None, 4))])
    def compiled(key, values):
        return dropped(values, 0.5, key, 0)

    for length in (3, 5):
        np.testing.assert_array_equal(
            compiled(key(), tf.ones((length, 4))), dropped(tf.ones((length, 4)), 0.5, key(), 0)
        )
