"""Training steps: accumulated, clipped, scaled and averaged ones are what they should be."""

import contextlib
import itertools

import numpy as np
import pytest
import tensorflow as tf

from components.training.devices import Devices
from components.training.execution import Execution
from components.training.optimizer import AdamW
from components.training.training_model import MaskedLMTraining
from tests.modeling.tiny_models import LENGTH, VOCABULARY, random_model

BATCH, PREDICTIONS = 8, 4
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
NO_DROPOUT = {"num_hidden_layers": 1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def a_batch(seed=0):
    """Rows with no label to four, none at all in the first two; the first positions of a row have them."""
    random = np.random.default_rng(seed)
    ids = random.integers(5, VOCABULARY, (BATCH, LENGTH)).astype(np.int32)
    counts = np.array([[0], [0], [4], [1], [3], [2], [4], [4]])
    labels = np.where(np.arange(LENGTH) < counts, ids, -100).astype(np.int32)
    return {"input_ids": tf.constant(ids), "attention_mask": tf.ones_like(ids)}, tf.constant(labels)


@contextlib.contextmanager
def policy(name):
    tf.keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def made(optimizer=None, model_type="roformer", values=NO_DROPOUT, **settings):
    """A small model in training."""
    training = MaskedLMTraining(random_model(model_type, **values), PREDICTIONS, **settings)
    training.compile(optimizer=optimizer or AdamW(1e-2, epsilon=1e-3, weight_decay_rate=0.01))
    return training


def fit(training, steps=3, epochs=1):
    """The history of some steps, each on a batch of its own."""
    batches = [a_batch(seed) for seed in range(steps)]
    stacked = tf.nest.map_structure(lambda *tensors: tf.stack(tensors), *batches)
    dataset = tf.data.Dataset.from_tensor_slices(stacked)
    return training.fit(dataset, epochs=epochs, verbose=0).history


def weights_of(training):
    return [weight.numpy() for weight in training.masked_lm.weights]


def assert_close(first, second, **tolerance):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


def assert_equal(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("parts", [2, 8])
def test_accumulated_gradients_are_those_of_the_whole_batch(parts):
    """Although the parts have different numbers of labels, the first of them none."""
    training, batch, weight = made(), a_batch(), tf.constant(1 / 18)
    total, whole = training.accumulated_gradients(batch, weight)
    training.accumulation_steps = parts
    accumulated_total, accumulated = tf.function(training.accumulated_gradients)(batch, weight)
    np.testing.assert_allclose(accumulated_total, total, rtol=1e-5)
    for one, other, variable in zip(accumulated, whole, training.masked_lm.trainable_variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6, err_msg=variable.name)


def test_an_accumulated_step_is_one_step():
    """With dropout: a row's chance is that of its place in the whole batch."""
    with_dropout = {"values": {"num_hidden_layers": 1}, "max_grad_norm": 0.1}
    plain, accumulated = made(**with_dropout), made(**with_dropout, accumulation_steps=4)
    losses, accumulated_losses = fit(plain)["loss"], fit(accumulated)["loss"]
    assert int(accumulated.optimizer.iterations) == int(plain.optimizer.iterations) == 3
    np.testing.assert_allclose(accumulated_losses, losses, rtol=1e-5)
    assert_close(weights_of(accumulated), weights_of(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_weights_without_a_part_in_the_loss_are_left_alone(accumulation_steps):
    """Such as a pooler: no gradient, no decay."""
    model = random_model("roformer", **NO_DROPOUT)
    model.pooler = tf.keras.layers.Dense(3)
    model.pooler.build((None, 2))
    training = MaskedLMTraining(model, PREDICTIONS, accumulation_steps=accumulation_steps)
    training.compile(optimizer=AdamW(1e-2, weight_decay_rate=0.5))
    assert any(weight is model.pooler.kernel for weight in model.trainable_weights)
    before, kernel = weights_of(training), model.pooler.kernel.numpy()
    fit(training, steps=1)
    np.testing.assert_array_equal(model.pooler.kernel, kernel)
    assert not np.array_equal(weights_of(training)[0], before[0])


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_the_norm_that_is_clipped_is_that_of_the_dense_gradients(accumulation_steps):
    """At a learning rate of 1 a plain step is as long as the gradients' norm: tokens that repeat count once."""
    training = made(tf.keras.optimizers.legacy.SGD(1.0), max_grad_norm=0.01, accumulation_steps=accumulation_steps)
    before = weights_of(training)
    fit(training, steps=1)
    step = [new - old for new, old in zip(weights_of(training), before, strict=True)]
    assert np.sqrt(sum(np.sum(np.square(part, dtype=np.float64)) for part in step)) == pytest.approx(0.01, rel=1e-3)


def test_no_label_in_a_batch_is_no_step_into_nowhere():
    inputs, labels = a_batch()
    training = made(tf.keras.optimizers.legacy.SGD(1.0), accumulation_steps=2)
    before = weights_of(training)
    nothing = tf.data.Dataset.from_tensors((inputs, tf.fill(labels.shape, -100)))
    assert training.fit(nothing, verbose=0).history["loss"] == [0.0]
    assert_equal(weights_of(training), before)


def test_a_loss_scale_that_is_too_large_leaves_the_step_out():
    scaled = tf.keras.mixed_precision.LossScaleOptimizer(AdamW(1e-2), initial_scale=2.0**127)
    with policy("mixed_float16"):
        training = made(scaled, max_grad_norm=1.0)
        before = weights_of(training)
        loss = fit(training, steps=1)["loss"][0]
    assert_equal(weights_of(training), before)
    assert float(scaled.loss_scale) == 2.0**126
    assert np.isfinite(loss)


@pytest.mark.slow
def test_a_loss_scale_changes_nothing_else():
    plain = made(max_grad_norm=0.1)
    scaled = made(
        tf.keras.mixed_precision.LossScaleOptimizer(AdamW(1e-2, epsilon=1e-3, weight_decay_rate=0.01)),
        max_grad_norm=0.1,
    )
    np.testing.assert_allclose(fit(scaled)["loss"], fit(plain)["loss"], rtol=1e-6)
    assert_close(weights_of(scaled), weights_of(plain), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_a_step_tells_its_loss_and_the_norm_of_its_gradients_before_clipping(accumulation_steps):
    batch = a_batch()
    training = made(accumulation_steps=accumulation_steps, max_grad_norm=1e-3)
    count = training.label_count(batch[1])
    total, gradients = training.gradients(batch, 1 / count)
    logs = training.train_step(batch)
    np.testing.assert_allclose(logs["step_loss"], total / count, rtol=1e-5)
    norm = tf.linalg.global_norm([gradient for gradient in gradients if gradient is not None])
    np.testing.assert_allclose(logs["gradient_norm"], norm, rtol=1e-4)


class Weights(tf.keras.callbacks.Callback):
    """The weights after every step."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(weights_of(self.model))


def test_the_average_of_the_weights():
    training, seen = made(ema_decay=0.2), Weights()
    expected = weights_of(training)
    batches = tf.data.Dataset.from_tensors(a_batch()).repeat(3)
    training.fit(batches, epochs=1, verbose=0, callbacks=[seen])
    for step, values in enumerate(seen.values, 1):
        decay = min(0.2, (1 + step) / (10 + step))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, values, strict=True)]
    own = weights_of(training)
    assert_equal(own, seen.values[-1])
    with training.averaged_weights():
        assert_close(weights_of(training), expected, rtol=1e-5, atol=1e-6)
        with training.averaged_weights():
            assert_close(weights_of(training), expected, rtol=1e-5, atol=1e-6)
    assert_equal(weights_of(training), own)
    assert not np.allclose(own[0], expected[0], rtol=1e-5)


def test_evaluate_looks_at_the_average():
    training, plain = made(ema_decay=0.9), made()
    fit(training)
    data = tf.data.Dataset.from_tensors(a_batch())
    with training.averaged_weights():
        plain.masked_lm.set_weights(training.masked_lm.get_weights())
    averaged = training.evaluate(data, verbose=0)
    assert averaged == pytest.approx(plain.evaluate(data, verbose=0), rel=1e-6)
    plain.masked_lm.set_weights(training.masked_lm.get_weights())
    assert averaged != pytest.approx(plain.evaluate(data, verbose=0), rel=1e-6)
    with training.averaged_weights():
        average = weights_of(training)
    training.keep_averaged_weights()
    assert_equal(weights_of(training), average)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_checkpoint_holds_everything(tmp_path, scaled):
    """Moments, step, loss scale and average: what goes on from it ends where the whole run does, bit for bit."""

    def begun():
        optimizer = AdamW(1e-2, weight_decay_rate=0.01)
        if scaled:
            optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer, dynamic_growth_steps=3)
        return made(optimizer, ema_decay=0.5, accumulation_steps=2)

    whole = begun()
    fit(whole, steps=2)
    path = tf.train.Checkpoint(training=whole, optimizer=whole.optimizer).write(str(tmp_path / "checkpoint"))
    fit(whole, steps=2)
    resumed = begun()
    restored = tf.train.Checkpoint(training=resumed, optimizer=resumed.optimizer).read(path)
    fit(resumed, steps=2)
    restored.assert_existing_objects_matched()
    assert int(resumed.optimizer.iterations) == 4
    assert_equal(weights_of(resumed), weights_of(whole))
    with resumed.averaged_weights(), whole.averaged_weights():
        assert_equal(weights_of(resumed), weights_of(whole))
    if scaled:
        assert float(resumed.optimizer.loss_scale) == float(whole.optimizer.loss_scale) == 2.0**16


def train_in(
    precision,
    compiled,
    accumulation_steps,
    model_type="roformer",
    values=NO_DROPOUT,
    in_graph=False,
    learning_rate=1e-2,
    **settings,
):
    """The losses of two epochs; in graph: as on a CPU that multiplies bfloat16."""
    devices = Devices("CPU", ("CPU:0",), bfloat16=in_graph)
    with Execution(precision, compiled, devices.names, devices, {}).scope():
        optimizer = AdamW(learning_rate)
        if precision == "mixed_float16":
            optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
        settings |= {"compiled": compiled, "accumulation_steps": accumulation_steps, "max_grad_norm": 1.0}
        training = made(optimizer, model_type, values, **settings)
        losses = fit(training, epochs=2)["loss"]
    assert {weight.dtype for weight in weights_of(training)} == {np.dtype(np.float32)}
    return losses


@pytest.fixture(scope="module")
def plain_losses():
    return train_in("float32", compiled=False, accumulation_steps=1)


QUICK = [("mixed_bfloat16", True, 1), ("mixed_float16", False, 1), ("mixed_bfloat16", False, 2)]


@pytest.mark.parametrize(
    ("precision", "compiled", "accumulation_steps"),
    [
        pytest.param(*one, marks=[] if one in QUICK else pytest.mark.slow)
        for one in itertools.product(PRECISIONS, (False, True), (1, 2))
    ],
)
def test_every_combination_trains(plain_losses, precision, compiled, accumulation_steps):
    losses = train_in(precision, compiled, accumulation_steps)
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-4 if precision == "float32" else 2e-2)


@pytest.mark.slow
def test_xla_compiles_the_whole_step():
    """Nothing of the optimizer is left to be launched by itself, weight by weight; nor of an average of the weights."""
    training = made(AdamW(1e-2), "roformer", NO_DROPOUT, compiled=True, max_grad_norm=1.0, ema_decay=0.5)
    plain = made(AdamW(1e-2), "roformer", NO_DROPOUT, max_grad_norm=1.0, ema_decay=0.5)
    assert len(operations_of_a_step(training)) < 30
    assert operations_of_a_step(plain).count("ResourceApplyAdam") == len(plain.masked_lm.trainable_variables)
    fit(training), fit(plain)
    assert_close(training.average.averages, plain.average.averages, rtol=1e-3, atol=1e-5)


def operations_of_a_step(training):
    """The types of the graph's operations, without those of functions that it calls."""
    graph = tf.function(training.train_step).get_concrete_function(a_batch(0)).graph
    return [operation.type for operation in graph.get_operations() if operation.type != "Placeholder"]


@pytest.mark.parametrize("settings", [{}, {"accumulation_steps": 2}, {"gradient_checkpointing": True}], ids=str)
@pytest.mark.skipif(not Devices.visible().bfloat16, reason="no CPU that multiplies bfloat16")
def test_a_rewritten_graph_trains(plain_losses, settings):
    losses = train_in("mixed_bfloat16", False, **{"accumulation_steps": 1, **settings}, in_graph=True)
    np.testing.assert_allclose(losses, plain_losses, rtol=5e-3)
    assert losses != plain_losses


@pytest.mark.slow
def test_another_architecture_compiles():
    values = {"n_layers": 1}
    losses = train_in("float32", compiled=True, accumulation_steps=2, model_type="distilbert", values=values)
    assert losses[1] < losses[0]
