"""Where labels are, and the cross-entropy of what is predicted there."""

import numpy as np
import pytest
import tensorflow as tf

from components.masking.masking import IGNORED_LABEL
from components.training.training_model import cross_entropy, label_positions

BATCH, LENGTH, PREDICTIONS = 3, 16, 5


@pytest.fixture
def labels():
    """Five labels, then two, then none."""
    labels = np.full((BATCH, LENGTH), IGNORED_LABEL, np.int64)
    labels[0, [1, 4, 5, 9, 15]] = [7, 8, 9, 10, 11]
    labels[1, [0, 3]] = [12, 13]
    return tf.constant(labels)


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
