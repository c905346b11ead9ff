"""The lowest layers are frozen: what they compute stays the same, and what follows learns."""

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.architectures.records import ARCHITECTURES, architecture_of
from components.modeling.config_classes import config_class
from components.modeling.encoder.dropping import Dropping
from components.modeling.encoder.exact_length import padded_to
from components.modeling.encoder.model import EncoderForMaskedLM
from components.modeling.frozen_layers import require_layers, trained_weights
from components.training.flops import step_flops
from components.training.optimizer import AdamW, create_slots
from components.training.training_model import MaskedLMTraining
from foundation.errors import ConfigError
from tests.modeling.tiny_models import LENGTH, MODELS, SHORTEST_BATTERY, all_slow_but, random_model, token_batch
from tests.training.tiny_training import SIZES, equal, small_step, weights_of, write_blocks, write_tokenizer

PREDICTIONS = 4
FREEZABLE = [name for name, (model_type, _) in MODELS.items() if model_type != "albert"]
OF_TOKENS = [name for name in FREEZABLE if MODELS[name][0] != "perceiver"]
"""Those whose layers have states of tokens; a Perceiver's are latent."""
QUICK = ("bert", "funnel", "xlm")
TWO_LAYERS = {"model_config": {**SIZES, "num_hidden_layers": 2}}


def states(model):
    """The hidden states (batch, sequence, hidden) before the first layer and after each."""
    if isinstance(model, EncoderForMaskedLM):
        return states_of_our_encoder(model)
    return model({**token_batch(), "output_hidden_states": True}, training=False).hidden_states


def states_of_our_encoder(model):
    inputs = {name: tf.constant(value) for name, value in token_batch().items()}
    if model.design.landmarks is not None:
        inputs = padded_to(model.design.landmarks.length, inputs, pad_token_id=model.design.pad_token_id)
    around, all_states = model.surroundings(inputs, fused=False), []
    all_states.append(model.embeddings(inputs, tf.convert_to_tensor(model.embeddings.words.weight), Dropping(None, 0)))
    for number, layer in enumerate(model.layers_of_encoder, 1):
        all_states.append(layer(all_states[-1], around, Dropping(None, number)))
    return all_states


def train_a_step(model, **settings):
    """One step of a learning rate that no weight outlives unchanged."""
    training = MaskedLMTraining(model, PREDICTIONS, **settings)
    training.compile(optimizer=AdamW(0.1, weight_decay_rate=0.1))
    create_slots(training.optimizer, training.trained_variables)
    inputs = token_batch()
    labels = np.where(np.arange(LENGTH) % 5 == 1, inputs["input_ids"], -100).astype(np.int32)
    training.fit(tf.data.Dataset.from_tensors((inputs, labels)), verbose=0)
    return training


@pytest.mark.parametrize("name", all_slow_but(("bert", "xlm"), OF_TOKENS, SHORTEST_BATTERY))
def test_what_the_lowest_layers_compute_stays_the_same(name):
    model = random_model(name)
    trained = {weight.ref() for weight in trained_weights(model, 1)}
    before, weights = states(model), [weight.numpy() for weight in model.weights]
    train_a_step(model, frozen_layers=1)
    after = states(model)
    for place in (0, 1):
        np.testing.assert_array_equal(after[place], before[place])
    assert len(after) == 2 or not np.allclose(after[-1], before[-1])
    for weight, value in zip(model.weights, weights, strict=True):
        assert weight.ref() in trained or np.array_equal(weight.numpy(), value), weight.name


@pytest.mark.parametrize("name", all_slow_but(QUICK, FREEZABLE))
def test_all_layers_but_the_head(name):
    """Nothing is frozen that comes after the layers."""
    model = random_model(name)
    layers = architecture_of(model.config).layers(model.config)
    require_layers(model.config, layers)
    trained = {weight.ref() for weight in trained_weights(model, layers)}
    _, after_layers = architecture_of(model.config).names_of_layers(model.config)
    base = f"{model.base_model_prefix}."
    from components.modeling.library.adapter import as_masked_lm

    for pytorch_name, weight in as_masked_lm(model).weight_map().items():
        if weight.variable.trainable:
            after = not pytorch_name.startswith(base) or pytorch_name.startswith(after_layers)
            assert (weight.variable.ref() in trained) is after, pytorch_name


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_checkpointing": True},
        pytest.param({"compiled": True}, marks=pytest.mark.slow),
        {"accumulation_steps": 2, "max_grad_norm": 1.0},
        {"ema_decay": 0.9},
    ],
)
def test_together_with_what_else_changes_the_step(settings):
    model = random_model("bert")
    before = states(model)
    training = train_a_step(model, frozen_layers=1, **settings)
    training.keep_averaged_weights()
    np.testing.assert_array_equal(states(model)[1], before[1])
    assert not np.allclose(states(model)[2], before[2])


def test_the_optimizer_keeps_no_moments_of_frozen_weights_and_no_gradient_is_counted():
    whole, frozen = (train_a_step(random_model("bert"), frozen_layers=count) for count in (0, 1))
    counts = [sum(np.prod(weight.shape) for weight in each.optimizer.variables()) for each in (whole, frozen)]
    trained = [sum(np.prod(weight.shape) for weight in each.trained_variables) for each in (whole, frozen)]
    assert counts == [2 * trained[0] + 1, 2 * trained[1] + 1]
    inputs = {name: tf.TensorSpec((None, None), tf.int32) for name in ("input_ids", "attention_mask")}
    flops = [step_flops(each, inputs, 2, LENGTH) for each in (whole, frozen)]
    assert 0.4 < flops[1] / flops[0] < 0.8


@pytest.mark.skipif(len(tf.config.list_physical_devices("GPU")) > 0, reason="two devices of a CPU")
@pytest.mark.parametrize("name", ["roberta", "albert", "xlm"])
def test_what_can_not_be_frozen_is_refused(name):
    config = config_class(name)(**ARCHITECTURES[name].tiny)
    require_layers(config, 0)
    reason = "its layers share their weights" if name == "albert" else f"3, and this {name} has 2"
    with pytest.raises(ConfigError, match=reason):
        require_layers(config, 3)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    return write_blocks(directory / "blocks", train=20, test=5), write_tokenizer(directory / "tokenizer")


def test_the_step_says_how_many_weights_are_trained(inputs, tmp_path, capfd):
    from components.contract import reports

    small_step(*inputs, **TWO_LAYERS, layer_freezing=1, epochs=1, checkpoint_every_steps=2).run(tmp_path)
    report = reports.from_plain(reports.TrainingReport, reports_of(tmp_path), tmp_path)
    assert 0 < report.trained_parameters < report.parameters
    assert f"({report.trained_parameters:,} of them trained)" in report.summary
    assert "keeps random weights of this new model" in capfd.readouterr().out
    initial, model = weights_of(tmp_path / "initial"), weights_of(tmp_path / "model")
    same = [np.array_equal(one, other) for one, other in zip(initial, model, strict=True)]
    assert any(same)
    assert not all(same)
    assert not equal(initial, model)


def reports_of(directory):
    import json

    return json.loads((directory / "report.json").read_text())


def test_too_many_layers_are_refused_before_anything_runs(inputs):
    with pytest.raises(
        ConfigError, match=r"9, and this roformer has 2.*--train\.layer_freezing to a number from 0 to 2"
    ):
        small_step(*inputs, **TWO_LAYERS, layer_freezing=9).preflight()
