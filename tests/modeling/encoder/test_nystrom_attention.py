"""Attention by landmarks, and the convolution over values."""

import numpy as np
import tensorflow as tf

from components.modeling.architectures.landmarks import Landmarks
from components.modeling.encoder.attention import attention
from components.modeling.encoder.nystrom_attention import NystromAttention, inverse
from components.modeling.encoder.value_convolution import ValueConvolution
from tests.modeling.tiny_models import random_model, token_batch


def heads(seed, length, scale=1.0):
    return tf.constant(np.random.default_rng(seed).normal(size=(2, 3, length, 4), scale=scale), tf.float32)


def test_a_landmark_for_each_token_is_plain_attention():
    """The inverse cancels: weights times inverse times weights, where tokens differ enough."""
    query, key = (3.0 * tf.eye(4) + heads(seed, 4, 0.1) for seed in (0, 1))
    value, mask = heads(2, 4), tf.zeros((2, 1, 1, 4))
    approximated = NystromAttention(Landmarks(4, 1))(query, key, value, mask)
    np.testing.assert_allclose(approximated, attention(query, key, value, mask), atol=1e-3)


def test_the_inverse_is_one():
    matrices = tf.nn.softmax(heads(0, 4, 0.5) + 3.0 * tf.eye(4))
    np.testing.assert_allclose(tf.matmul(inverse(matrices), matrices), tf.eye(4) + tf.zeros((2, 3, 4, 4)), atol=1e-3)


def test_a_text_is_answered_the_same_beside_any_other():
    """PyTorch's first guess is of the whole batch, which shows where the iterations don't end at the inverse."""
    matrices = tf.nn.softmax(tf.concat([0.1 * heads(0, 4), 3.0 * heads(1, 4)], axis=0))
    together = inverse(matrices)
    for row in range(4):
        np.testing.assert_allclose(together[row : row + 1], inverse(matrices[row : row + 1]), rtol=1e-3)


def test_padding_to_the_landmarks_changes_nothing():
    """A sequence is as long as its landmarks, however much padding it comes with."""
    model, batch = random_model("nystromformer by landmarks"), token_batch()
    ids = np.where(batch["attention_mask"] > 0, batch["input_ids"], model.config.pad_token_id)
    given = {"input_ids": ids, "attention_mask": batch["attention_mask"]}
    longer = {name: np.pad(value, ((0, 0), (0, 5)), constant_values=0) for name, value in given.items()}
    longer["input_ids"][:, 16:] = model.config.pad_token_id
    np.testing.assert_allclose(model(longer).logits[:, :16], model(given).logits, atol=1e-6)


def test_a_kernel_is_centered_and_its_heads_own():
    layer = ValueConvolution("conv", 3, 5, 0.02)
    layer.weight.assign(np.random.default_rng(0).normal(size=(3, 1, 5, 1)))
    values = heads(1, 7)
    expected = np.zeros(values.shape)
    for place in range(7):
        for other in range(max(0, place - 2), min(7, place + 3)):
            kernel = layer.weight.numpy()[:, 0, other - place + 2, 0]
            expected[:, :, place] += kernel[None, :, None] * values.numpy()[:, :, other]
    np.testing.assert_allclose(layer(values), expected, atol=1e-5)
