"""The head at given positions: the model stays an ordinary one, traced or compiled."""

import numpy as np
import pytest
import tensorflow as tf

from components.masking.masking import IGNORED_LABEL
from components.modeling.library.head import masked_logits
from components.training.training_model import label_positions, masked_cross_entropy
from tests.modeling.tiny_models import VOCABULARY, random_model

BATCH, LENGTH, PREDICTIONS = 3, 16, 5


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


@pytest.mark.parametrize("jit_compile", [False, True])
def test_works_in_a_traced_and_a_compiled_function(inputs, labels, jit_compile):
    model = random_model("roberta")
    positions, _ = label_positions(labels, PREDICTIONS)

    @tf.function(jit_compile=jit_compile)
    def traced(ids, labels):
        return masked_logits(model, {"input_ids": ids}, label_positions(labels, PREDICTIONS)[0])

    expected = masked_logits(model, {"input_ids": inputs["input_ids"]}, positions)
    np.testing.assert_allclose(traced(inputs["input_ids"], labels), expected, atol=1e-5)


def test_the_model_stays_ordinary():
    model = random_model("distilbert")
    ids = tf.constant(np.arange(5, 5 + LENGTH)[None], tf.int32)
    before = model(ids).logits
    names = set(vars(model.get_lm_head()))
    masked_logits(model, {"input_ids": ids}, tf.constant([[2, 3]]))
    assert set(vars(model.get_lm_head())) == names
    np.testing.assert_array_equal(model(ids).logits, before)


def test_the_model_stays_ordinary_when_the_call_fails():
    model = random_model("bert")
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        masked_logits(model, {"input_ids": tf.zeros((2, 4), tf.int32)}, tf.zeros((3, 2), tf.int32))
    assert model(tf.zeros((2, 4), tf.int32)).logits.shape == (2, 4, VOCABULARY)


def test_no_label_at_all_is_loss_zero_and_gradient_zero():
    model = random_model("roberta")
    ids = tf.constant(np.full((2, LENGTH), 5), tf.int32)
    positions, labels = label_positions(tf.fill((2, LENGTH), tf.constant(IGNORED_LABEL, tf.int64)), PREDICTIONS)
    with tf.GradientTape() as tape:
        total, count = masked_cross_entropy(masked_logits(model, {"input_ids": ids}, positions), labels)
        loss = total / tf.maximum(count, 1.0)
    assert loss == 0.0
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert gradient is None or not np.any(tf.convert_to_tensor(gradient))
