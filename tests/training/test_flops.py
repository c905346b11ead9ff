"""The floating-point operations of a step, and the peak that they are held against."""

import pytest
import tensorflow as tf

from components.modeling.architectures.architecture import TINY
from components.training.flops import measured_peak_flops, step_flops
from components.training.training_model import MaskedLMTraining
from tests.modeling.tiny_models import VOCABULARY, all_slow_but, random_model

BLOCKS, LENGTH, PREDICTIONS = 2, 16, 4
INPUTS = {name: tf.TensorSpec((None, None), tf.int64) for name in ("input_ids", "attention_mask")}


def flops(architecture, **values):
    training = MaskedLMTraining(random_model(architecture, **values), PREDICTIONS)
    return step_flops(training, INPUTS, BLOCKS, LENGTH)


def by_formula(layers):
    """6 x parameters x tokens, attention, and the head at the masked positions only."""
    hidden, inner = TINY["hidden_size"], TINY["intermediate_size"]
    parameters = layers * (4 * hidden**2 + 2 * hidden * inner)
    tokens, asked = BLOCKS * LENGTH, BLOCKS * PREDICTIONS
    attention = 12 * layers * tokens * LENGTH * hidden
    return 6 * parameters * tokens + attention + 6 * (hidden**2 + hidden * VOCABULARY) * asked


def test_a_dense_transformer():
    assert flops("bert") == by_formula(layers=2)


def test_shared_weights_count_as_often_as_they_are_used():
    assert flops("albert", num_hidden_layers=4) > 1.8 * flops("albert", num_hidden_layers=2)


def test_groups_multiply_what_is_theirs():
    kinds = ("q", "k", "v", "post_attention", "intermediate", "output")
    whole, halves = ({f"{kind}_groups": count for kind in kinds} for count in (1, 2))
    assert flops("squeezebert", **whole) == by_formula(layers=2)
    products = 6 * 2 * (4 * TINY["hidden_size"] ** 2 + 2 * TINY["hidden_size"] * TINY["intermediate_size"])
    assert flops("squeezebert", **halves) == by_formula(layers=2) - products * BLOCKS * LENGTH / 2


@pytest.mark.parametrize("architecture", all_slow_but(()))
def test_every_architecture(architecture):
    """Some have less than BERT's matrices; those with a gate have more, and those with a decoder have it beside."""
    assert by_formula(layers=2) / 2 < flops(architecture) < by_formula(layers=2) * 3


def test_the_peak():
    assert 1e8 < measured_peak_flops(seconds=0.05) < 1e16


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a CPU's devices")
def test_the_devices_of_a_cpu_share_its_cores():
    assert measured_peak_flops(devices=10**9, seconds=0.05) < 1e16
