"""The Perceiver of text: answers for the text's own positions, and refuses sizes that don't fit together."""

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.architectures.records import ARCHITECTURES, architecture_of
from components.modeling.configuration import plain_config
from components.modeling.frozen_layers import require_layers, trained_weights
from components.modeling.new_model import new_masked_lm
from foundation.errors import ConfigError, ModelError
from tests.modeling.tiny_models import random_model, token_batch


def test_a_short_text_is_answered_as_it_is_in_a_padded_row():
    model, batch = random_model("perceiver"), token_batch()
    row = {name: tf.constant(ids[1:]) for name, ids in batch.items()}  # its last four are padding
    alone = {"input_ids": row["input_ids"][:, :-4]}
    padded = {
        name: tf.pad(ids, [[0, 0], [0, 20]], constant_values=7 * (name == "input_ids")) for name, ids in row.items()
    }
    expected = model.logits(row)[:, :-4]
    assert model.logits(alone).shape == expected.shape
    np.testing.assert_allclose(model.logits(alone), expected, atol=1e-6)
    np.testing.assert_allclose(model.logits(padded)[:, :12], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("option", "received"),
    [
        ({"qk_channels": 18}, "18 qk_channels"),
        ({"qk_channels": 8}, "8 v_channels and 4 heads for states of 16"),
        ({"num_latents": 0}, "0"),
        ({"hidden_act": "laplace"}, "'laplace'"),
        ({"cross_attention_shape_for_attention": "v"}, "'v'"),
        ({"d_model": 36}, "36 v_channels and 8 heads"),
    ],
)
def test_what_does_not_fit_together_is_refused(option, received):
    config = plain_config("perceiver", {**ARCHITECTURES["perceiver"].tiny, **option})
    with pytest.raises(ModelError) as refusal:
        new_masked_lm(config)
    assert received in refusal.value.received


def test_what_reads_the_text_is_frozen_with_the_lowest_layers_and_what_answers_is_not():
    model = random_model("perceiver")
    names = {weight.variable.ref(): name for name, weight in model.weight_map().items()}
    trained = {names[variable.ref()] for variable in trained_weights(model, 1)}
    beginnings = ("perceiver.encoder.self_attends.1.", "perceiver.decoder.", "embedding_decoder.")
    assert trained == {name for name in names.values() if name.startswith(beginnings)}
    require_layers(model.config, 2)
    with pytest.raises(ConfigError, match="this perceiver has 2"):
        require_layers(model.config, 3)
    with pytest.raises(ConfigError, match="blocks share their layers"):
        require_layers(random_model("perceiver in blocks").config, 1)


def test_its_width_is_that_of_its_latents():
    config = random_model("perceiver").config
    assert architecture_of(config).hidden_size(config) == 16
