"""A ModernBERT whose windows are computed by chunks, beside itself with every pair of tokens."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.architectures.records import architecture_of
from components.modeling.encoder import local_attention
from components.modeling.encoder.model import EncoderForMaskedLM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
by_hand = pytest.mark.skipif("LONG_CONTEXT" not in os.environ, reason="LONG_CONTEXT=1 tries it")
LIMIT_MIB = 400
"""What a step may take beside the program. Two matrices of all pairs of 8,192 tokens, 512 MiB, are beyond it."""
STEP = """
import sys
from foundation.keras_choice import choose_keras
choose_keras()
import tensorflow as tf
from benchmarks.training_floor import memory_mib
from components.modeling.encoder import local_attention
from tests.modeling.encoder.test_long_context import gradients_of, tiny_modernbert
if sys.argv[1] == "dense":
    local_attention.SHORT = 2**20
model = tiny_modernbert(layer_types=["sliding_attention"] * 2)
ids = tf.random.uniform((1, 8192), 5, 100, tf.int32)
gradients_of(model, ids[:, :256], tf.ones_like(ids[:, :256]))
before = memory_mib("VmHWM")
loss, gradients = gradients_of(model, ids, tf.ones_like(ids))
tf.keras.optimizers.legacy.SGD(0.1).apply_gradients(zip(gradients, model.trainable_variables))
print(memory_mib("VmHWM") - before)
if sys.argv[1] == "chunks":
    assert gradients_of(model, ids, tf.ones_like(ids))[0] < loss
"""


def tiny_modernbert(**values):
    from transformers import ModernBertConfig

    config = ModernBertConfig(
        vocab_size=100,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=24,
        **values,
    )
    tf.keras.utils.set_random_seed(1)
    return EncoderForMaskedLM(config, architecture_of(config).design(config))


def gradients_of(model, ids, documents):
    """The loss at every eighth position, and the gradients of all weights."""
    asked = tf.tile(tf.range(0, ids.shape[1], 8)[None], (ids.shape[0], 1))
    with tf.GradientTape() as tape:
        logits = model.logits_at({"input_ids": ids, "attention_mask": documents}, asked)
        labels = tf.gather(ids, asked, batch_dims=1)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    return loss, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, model.trainable_variables)]


# `dense` takes minutes: it is tried by hand, with LONG_CONTEXT=1, and shows that the limit tells the two apart.
@pytest.mark.parametrize(("form", "fits"), [("chunks", True), pytest.param("dense", False, marks=by_hand)])
def test_a_step_of_8192_tokens_fits_only_by_chunks(form, fits):
    ran = subprocess.run([sys.executable, "-c", STEP, form], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert (int(ran.stdout) < LIMIT_MIB) == fits, ran.stdout


def test_packed_blocks_of_1024_tokens_have_the_loss_and_the_gradients_of_all_pairs(monkeypatch):
    model = tiny_modernbert()
    model.keep_documents_apart()
    random = np.random.default_rng(0)
    ids = tf.constant(random.integers(5, 100, (2, 1024)), tf.int32)
    documents = tf.constant(1 + np.cumsum(random.random((2, 1024)) < 0.01, axis=1), tf.int32)
    documents *= tf.cast(tf.range(1024) < 1000, tf.int32)  # padding at the end
    loss, gradients = gradients_of(model, ids, documents)
    monkeypatch.setattr(local_attention, "SHORT", 2**20)
    dense_loss, dense_gradients = gradients_of(model, ids, documents)
    np.testing.assert_allclose(loss, dense_loss, rtol=1e-6)
    for ours, theirs in zip(gradients, dense_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6 * np.abs(theirs).max() + 1e-9)
