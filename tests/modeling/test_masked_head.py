"""The head at given positions equals the dense path, in logits, loss and gradients, for every architecture."""

import numpy as np
import pytest
import tensorflow as tf
from transformers import CONFIG_MAPPING

from components.modeling.checkpoint import masked_lm_model_types
from components.modeling.configuration import masked_lm_class
from components.modeling.masked_head import (
    IGNORED_LABEL,
    cross_entropy,
    label_positions,
    masked_cross_entropy,
    masked_logits,
)

BATCH, LENGTH, VOCABULARY, PREDICTIONS = 3, 16, 60, 5

TINY = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "embedding_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}
"""Sizes that most configurations call so."""
OWN_NAMES = {
    "albert": {"num_hidden_groups": 1},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "pooler_hidden_size": 16},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 4},
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24},
    "esm": {"mask_token_id": 4, "token_dropout": False},
    "flaubert": {"emb_dim": 16, "n_layers": 1, "n_heads": 2},
    "funnel": {"block_sizes": [1, 1], "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 24, "num_decoder_layers": 1},
    "longformer": {"attention_window": 4},
    "mobilebert": {"intra_bottleneck_size": 16, "true_hidden_size": 16, "num_feedforward_networks": 1},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 24},
    "xlm": {"emb_dim": 16, "n_layers": 1, "n_heads": 2},
}
ALIEN = {
    "distilbert": ("hidden_size", "embedding_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    "flaubert": ("hidden_size", "embedding_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    "funnel": ("hidden_size", "embedding_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    "xlm": ("hidden_size", "embedding_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    "rembert": ("embedding_size",),
}
"""Names of `TINY` that an architecture lacks."""


def tiny_model(model_type):
    """A one-layer model with random weights."""
    values = {name: value for name, value in TINY.items() if name not in ALIEN.get(model_type, ())}
    tf.keras.utils.set_random_seed(7)
    model = masked_lm_class(model_type)(CONFIG_MAPPING[model_type](**values, **OWN_NAMES.get(model_type, {})))
    model.build_in_name_scope()
    # Zero biases and a narrow initialization would hide a bias left out or applied twice.
    for variable in model.trainable_variables:
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.05))
    return model


@pytest.fixture(params=masked_lm_model_types())
def model(request):
    return tiny_model(request.param)


@pytest.fixture
def inputs():
    ids = np.random.default_rng(0).integers(5, VOCABULARY, (BATCH, LENGTH)).astype(np.int32)
    return {"input_ids": tf.constant(ids), "attention_mask": tf.ones((BATCH, LENGTH), tf.int32)}


@pytest.fixture
def labels():
    """Five labels, then two, then none."""
    labels = np.full((BATCH, LENGTH), IGNORED_LABEL, np.int64)
    labels[0, [1, 4, 5, 9, 15]] = [7, 8, 9, 10, 11]
    labels[1, [0, 3]] = [12, 13]
    return tf.constant(labels)


def test_equals_the_dense_path(model, inputs, labels):
    positions, labels_there = label_positions(labels, PREDICTIONS)

    with tf.GradientTape() as tape:
        every_logit = tf.cast(model(inputs, training=False).logits, tf.float32)
        total, count = masked_cross_entropy(every_logit, tf.cast(labels, tf.int32))
        dense_loss = total / count
    dense_gradients = tape.gradient(dense_loss, model.trainable_variables)
    dense_logits = tf.gather(every_logit, positions, batch_dims=1)
    with tf.GradientTape() as tape:
        logits = masked_logits(model, inputs, positions)
        total, count = masked_cross_entropy(logits, labels_there)
        loss = total / count
    gradients = tape.gradient(loss, model.trainable_variables)

    assert logits.shape == (BATCH, PREDICTIONS, model.config.vocab_size)
    np.testing.assert_allclose(logits, dense_logits, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(loss, dense_loss, atol=1e-6, rtol=1e-5)
    assert any(gradient is not None for gradient in gradients)
    for variable, gradient, expected in zip(model.trainable_variables, gradients, dense_gradients, strict=True):
        assert (gradient is None) == (expected is None), variable.name
        if gradient is not None:
            np.testing.assert_allclose(
                tf.convert_to_tensor(gradient),
                tf.convert_to_tensor(expected),
                atol=2e-5,
                rtol=1e-3,
                err_msg=variable.name,
            )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_works_in_a_traced_and_a_compiled_function(inputs, labels, jit_compile):
    model = tiny_model("roberta")
    positions, _ = label_positions(labels, PREDICTIONS)

    @tf.function(jit_compile=jit_compile)
    def traced(ids, labels):
        return masked_logits(model, {"input_ids": ids}, label_positions(labels, PREDICTIONS)[0])

    expected = masked_logits(model, {"input_ids": inputs["input_ids"]}, positions)
    np.testing.assert_allclose(traced(inputs["input_ids"], labels), expected, atol=1e-5)


def test_the_model_stays_ordinary():
    model = tiny_model("distilbert")
    ids = tf.constant(np.arange(5, 5 + LENGTH)[None], tf.int32)
    before = model(ids).logits
    names = set(vars(model.get_lm_head()))
    masked_logits(model, {"input_ids": ids}, tf.constant([[2, 3]]))
    assert set(vars(model.get_lm_head())) == names
    np.testing.assert_array_equal(model(ids).logits, before)


def test_the_model_stays_ordinary_when_the_call_fails():
    model = tiny_model("bert")
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        masked_logits(model, {"input_ids": tf.zeros((2, 4), tf.int32)}, tf.zeros((3, 2), tf.int32))
    assert model(tf.zeros((2, 4), tf.int32)).logits.shape == (2, 4, VOCABULARY)


def test_no_label_at_all_is_loss_zero_and_gradient_zero():
    model = tiny_model("roberta")
    ids = tf.constant(np.full((2, LENGTH), 5), tf.int32)
    positions, labels = label_positions(tf.fill((2, LENGTH), tf.constant(IGNORED_LABEL, tf.int64)), PREDICTIONS)
    with tf.GradientTape() as tape:
        total, count = masked_cross_entropy(masked_logits(model, {"input_ids": ids}, positions), labels)
        loss = total / tf.maximum(count, 1.0)
    assert loss == 0.0
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert gradient is None or not np.any(tf.convert_to_tensor(gradient))


def test_label_positions_come_first_in_order(labels):
    positions, there = label_positions(labels, PREDICTIONS)
    assert positions.numpy()[0].tolist() == [1, 4, 5, 9, 15]
    assert positions.numpy()[1, :2].tolist() == [0, 3]
    assert there.numpy().tolist() == [[7, 8, 9, 10, 11], [12, 13, *[IGNORED_LABEL] * 3], [IGNORED_LABEL] * 5]


def test_labels_beyond_the_slots_are_left_out(labels):
    _, there = label_positions(labels, 2)
    assert there.numpy().tolist() == [[7, 8], [12, 13], [IGNORED_LABEL] * 2]


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_cross_entropy_is_the_libraries(scale):
    logits = scale * tf.random.stateless_normal((4, 3, 1001), (1, 2))
    labels = tf.random.stateless_uniform((4, 3), (3, 4), 0, 1001, tf.int32)
    weights = tf.random.stateless_normal((4, 3), (5, 6))
    losses, gradients = [], []
    for loss in (cross_entropy, lambda x, y: tf.nn.sparse_softmax_cross_entropy_with_logits(logits=x, labels=y)):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses.append(loss(logits, labels))
            total = tf.reduce_sum(losses[-1] * weights)
        gradients.append(tape.gradient(total, logits))
    np.testing.assert_allclose(*losses, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-6)
