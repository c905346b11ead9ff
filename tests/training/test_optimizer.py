"""AdamW, StableAdamW and Muon: what decays, for every architecture, and each step against the papers' formulas."""

import numpy as np
import pytest
import tensorflow as tf
from transformers.models.mobilebert.modeling_tf_mobilebert import TFNoNorm

from components.modeling.encoder.layers import Norm
from components.modeling.layer_matrices import layer_matrices
from components.training.optimizer import AdamW, Muon, StableAdamW, build_optimizer, create_slots, decays
from components.training.orthogonal import orthogonal
from components.training.params import TrainParams, training_steps
from tests.modeling.tiny_models import MODELS, all_slow_but, random_model

QUICK = ("albert", "bert", "funnel", "mobilebert", "modernbert", "mpnet", "roformer", "xmod")


@pytest.mark.parametrize("name", all_slow_but(QUICK, MODELS))
def test_biases_and_norms_do_not_decay(name):
    """By what a weight is to its layer, where the optimizer goes by its shape and name."""
    model = random_model(name)
    excluded = set()
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.LayerNormalization | TFNoNorm | Norm):
            excluded |= {weight.name for weight in layer.trainable_weights}
        excluded |= {
            value.name for attribute, value in vars(layer).items() if "bias" in attribute and hasattr(value, "name")
        }
    biases_by_distance = {w.name for w in model.trainable_weights if "relative_attention_bias" in w.name}  # MPNet's
    kept = {weight.name for weight in model.trainable_weights if not decays(weight)}
    assert kept == (excluded & {weight.name for weight in model.trainable_weights}) | biases_by_distance
    assert len(kept) < len(model.trainable_weights)
    assert all(weight.shape.rank >= 2 for weight in model.trainable_weights if weight.name not in kept)


def test_a_step_is_the_papers():
    """Algorithm 2 of Loshchilov and Hutter 2019: the decay is outside of the moments."""
    rate, beta1, beta2, epsilon, decay = 0.1, 0.8, 0.9, 1e-7, 0.3
    values = {"kernel": np.array([[1.0, -2.0], [0.5, 3.0]]), "bias": np.array([1.0, -1.0])}
    variables = {name: tf.Variable(value, dtype=tf.float32, name=name) for name, value in values.items()}
    optimizer = AdamW(rate, beta_1=beta1, beta_2=beta2, epsilon=epsilon, weight_decay_rate=decay)
    moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in values.items()}
    for step in range(1, 4):
        gradients = {name: np.cos(step + np.arange(value.size)).reshape(value.shape) for name, value in values.items()}
        optimizer.apply_gradients(
            (tf.constant(gradients[name], tf.float32), variable) for name, variable in variables.items()
        )
        for name, gradient in gradients.items():
            first, second = moments[name]
            first = beta1 * first + (1 - beta1) * gradient
            second = beta2 * second + (1 - beta2) * gradient**2
            moments[name] = first, second
            update = first / (1 - beta1**step) / (np.sqrt(second / (1 - beta2**step)) + epsilon)
            values[name] = values[name] - rate * (update + (decay * values[name] if name == "kernel" else 0))
            np.testing.assert_allclose(variables[name], values[name], rtol=1e-5, err_msg=f"{name}, step {step}")


def test_a_step_of_the_stable_one_is_the_papers():
    """Algorithm 2 of Wortsman et al. 2023, in float64, with the decays of its moments as it corrects them.

    The gradients of the matrix become a hundred times as large, and small again; the vector's stay as they are.
    """
    rate, beta1, beta2, epsilon, decay = 0.1, 0.8, 0.99, 1e-3, 0.3
    values = {"kernel": np.array([[1.0, -2.0], [0.5, 3.0]]), "bias": np.array([1.0, -1.0])}
    variables = {name: tf.Variable(value, dtype=tf.float32, name=name) for name, value in values.items()}
    optimizer = StableAdamW(rate, beta_1=beta1, beta_2=beta2, epsilon=epsilon, weight_decay_rate=decay)
    moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in values.items()}
    clipped = {name: [] for name in values}
    for step, size in enumerate((1e-3, 1e-3, 0.1, 1e-3, 0.0), start=1):
        corrected1 = beta1 * (1 - beta1 ** (step - 1)) / (1 - beta1**step)
        corrected2 = beta2 * (1 - beta2 ** (step - 1)) / (1 - beta2**step)
        gradients = {
            "kernel": size * np.cos(step + np.arange(4.0)).reshape(2, 2),
            "bias": np.cos(1 + np.arange(2.0)),
        }
        optimizer.apply_gradients(
            (tf.constant(gradients[name], tf.float32), variable) for name, variable in variables.items()
        )
        for name, gradient in gradients.items():
            first, second = moments[name]
            first = corrected1 * first + (1 - corrected1) * gradient
            second = corrected2 * second + (1 - corrected2) * gradient**2
            moments[name] = first, second
            size_of_update = np.sqrt(np.mean(gradient**2 / np.maximum(second, epsilon**2)))
            own_rate = rate / max(1.0, size_of_update)
            clipped[name].append(size_of_update > 1.01)
            decayed = own_rate * decay * values[name] if name == "kernel" else 0
            values[name] = values[name] - decayed - own_rate * first / (np.sqrt(second) + epsilon)
            np.testing.assert_allclose(variables[name], values[name], rtol=2e-5, err_msg=f"{name}, step {step}")
    assert clipped == {"kernel": [False, False, True, False, False], "bias": [False] * 5}


def papers_orthogonal(matrix):
    """Jordan et al. 2024, their code's five iterations in float64."""
    matrix = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        square = matrix @ matrix.T
        matrix = 3.4445 * matrix + (-4.7750 * square + 2.0315 * square @ square) @ matrix
    return matrix


def test_a_step_of_muon_is_the_papers():
    """Of a matrix: Nesterov's momentum, made orthogonal, in Liu et al.'s size. Of the rest: AdamW's."""
    rate, decay = 0.1, 0.3
    random = np.random.default_rng(0)
    value, other = random.normal(size=(4, 6)), random.normal(size=(5, 3))
    matrix, table, as_adamw = (tf.Variable(start, dtype=tf.float32) for start in (value, other, other))
    optimizer = Muon(rate, weight_decay_rate=decay, matrices=[matrix])
    adamw = AdamW(rate, weight_decay_rate=decay)
    create_slots(optimizer, [matrix, table])
    # Two moments of the table, one of the matrix, and the number of steps.
    assert sorted(tuple(weight.shape) for weight in optimizer.weights) == [(), (4, 6), (5, 3), (5, 3)]
    moment = np.zeros_like(value)
    for _ in range(3):
        gradient, other_gradient = random.normal(size=value.shape), random.normal(size=other.shape)
        optimizer.apply_gradients(
            [(tf.constant(gradient, tf.float32), matrix), (tf.constant(other_gradient, tf.float32), table)]
        )
        adamw.apply_gradients([(tf.constant(other_gradient, tf.float32), as_adamw)])
        moment = 0.95 * moment + 0.05 * gradient
        step = papers_orthogonal(0.95 * moment + 0.05 * gradient)
        value = value * (1 - rate * decay) - rate * 0.2 * np.sqrt(6) * step
        np.testing.assert_allclose(matrix, value, atol=1e-5)
        np.testing.assert_array_equal(table, as_adamw)


@pytest.mark.parametrize("shape", [(12, 12), (12, 40), (40, 12)])
def test_the_singular_values_are_about_1(shape):
    matrix = tf.random.stateless_normal(shape, (0, 1), stddev=1e-3)
    found = orthogonal(matrix)
    sizes = tf.linalg.svd(found, compute_uv=False).numpy()
    assert sizes.shape == (12,)
    assert 0.6 < sizes.min() < sizes.max() < 1.25
    # It turns the same way: the trace with the matrix is nearly the sum of its singular values.
    most = tf.reduce_sum(tf.linalg.svd(matrix, compute_uv=False))
    assert float(tf.reduce_sum(found * matrix)) > 0.7 * float(most)
    np.testing.assert_array_equal(orthogonal(tf.zeros(shape)), np.zeros(shape))


@pytest.mark.parametrize("name", all_slow_but(QUICK, MODELS))
def test_muon_takes_the_matrices_of_the_layers(name):
    """No embedding, and neither bias nor norm, of any architecture; most of a large model's weights otherwise."""
    model = random_model(name)
    taken = {matrix.ref() for matrix in layer_matrices(model)}
    assert bool(taken) != name.startswith("squeezebert")  # all of its products are convolutions
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.LayerNormalization | TFNoNorm | Norm | tf.keras.layers.Embedding):
            assert taken.isdisjoint(weight.ref() for weight in layer.trainable_weights), layer.name
    for weight in model.trainable_weights:
        if weight.ref() in taken:
            assert decays(weight), weight.name
            assert model.config.vocab_size not in weight.shape, weight.name


def test_everything_decays_where_nothing_is_excluded():
    for excluded, left in (("biases_and_norms", [0.5, 1.0]), ("nothing", [0.5, 0.5])):
        optimizer = built(weight_decay=1.0, weight_decay_excludes=excluded)
        variables = [tf.Variable([[1.0]], name="kernel"), tf.Variable([1.0], name="bias")]
        optimizer.apply_gradients((tf.zeros_like(variable), variable) for variable in variables)
        assert [float(tf.squeeze(variable)) for variable in variables] == left, excluded


def built(**params):
    params = TrainParams(model_type="bert", learning_rate=0.5, **params)
    return build_optimizer(params, training_steps(params, blocks=160))


def test_the_schedule_is_the_params():
    linear = built(epochs=2, warmup_ratio=0.5, min_lr_ratio=0.2)  # 20 steps
    assert [float(linear.learning_rate(step)) for step in (0, 5, 10, 15)] == pytest.approx([0, 0.25, 0.5, 0.3])
    cosine = built(epochs=2, lr_scheduler_type="cosine")
    assert float(cosine.learning_rate(5)) == pytest.approx(0.25 * (1 + np.cos(np.pi / 4)))
    constant = built(epochs=2, warmup_ratio=0.5, lr_scheduler_type="constant")
    assert [float(constant.learning_rate(step)) for step in (5, 10, 15, 20)] == pytest.approx([0.25, 0.5, 0.5, 0.5])
    stable = built(epochs=2, lr_scheduler_type="warmup_stable_decay", decay_ratio=0.2)
    assert [float(stable.learning_rate(step)) for step in (0, 16, 18)] == pytest.approx([0.5, 0.5, 0.25])
    root = built(epochs=2, lr_scheduler_type="warmup_stable_decay", decay_ratio=0.2, decay_type="1-sqrt")
    assert [float(root.learning_rate(step)) for step in (16, 17)] == pytest.approx([0.5, 0.25])


def test_float16_has_a_loss_scale():
    assert type(built()) is AdamW
    assert type(built(optimizer="stable_adamw")) is StableAdamW
    assert type(built(optimizer="muon")) is Muon
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        scaled = built()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert isinstance(scaled, tf.keras.mixed_precision.LossScaleOptimizer)
    assert scaled.dynamic
