"""The decoder of an encoder-decoder: what it reads, what it sees, and what a training and a checkpoint ask of it."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from components.modeling.checkpoint import load_checkpoint
from components.modeling.configuration import build_config, special_ids
from components.modeling.encoder.attention import NEVER, causal_mask_from
from components.modeling.encoder.decoder import begins_of_documents, shifted_right
from components.modeling.encoder.encoder_layer import Surroundings
from components.modeling.frozen_layers import require_layers, trained_weights
from components.modeling.library.dropout import step_key
from components.modeling.pytorch_weights import save_pytorch_weights
from components.training.training_model import masked_cross_entropy
from foundation.errors import ConfigError, ModelError
from tests.modeling.tiny_models import random_model, token_batch
from tests.test_export import train_tokenizer

PADDING, START = 1, 2
POSITIONS, LABELS = tf.constant([[1, 4, 9], [0, 2, 3]]), tf.constant([[7, 8, 9], [12, 13, 14]])
DROPOUT = {"dropout": 0.3, "attention_dropout": 0.3, "activation_dropout": 0.3}
IDS = tf.constant([[10, 11, 12, 13, 14, 15], [20, 21, 22, 23, PADDING, PADDING]])
DOCUMENTS = tf.constant([[1, 1, 2, 2, 2, 2], [1, 2, 2, 2, 0, 0]])


def shifted(start, apart):
    begins = begins_of_documents(Surroundings(DOCUMENTS, tf.zeros(()), apart=apart))
    return shifted_right(IDS, begins, start, PADDING).numpy().tolist()


def loss_and_gradients(model, **how):
    inputs = {name: tf.constant(value) for name, value in token_batch().items()}
    with tf.GradientTape() as tape:
        total, _ = masked_cross_entropy(model.logits_at(inputs, POSITIONS, **how), LABELS)
    gradients = tape.gradient(total, model.trainable_variables)
    assert None not in gradients
    return total.numpy(), [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]


def saved(model, directory, change=dict):
    """A checkpoint whose weights are changed in its file."""
    directory.mkdir()
    save_pytorch_weights(model, directory)
    arrays = change(load_file(directory / "model.safetensors"))
    save_file(arrays, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def test_a_row_is_shifted_by_one_token_from_a_start():
    assert shifted(START, apart=False) == [[2, 10, 11, 12, 13, 14], [2, 20, 21, 22, 23, 1]]


def test_each_packed_document_has_a_start_of_its_own():
    assert shifted(START, apart=True)[0] == [2, 10, 2, 12, 13, 14]
    assert shifted(START, apart=True)[1][:4] == [2, 2, 21, 22]


def test_without_a_start_the_last_token_is_one():
    """Padding is none."""
    assert shifted(None, apart=False) == [[15, 10, 11, 12, 13, 14], [23, 20, 21, 22, 23, 1]]
    assert shifted(None, apart=True)[0] == [11, 10, 15, 12, 13, 14]
    assert shifted(None, apart=True)[1][:4] == [20, 23, 21, 22]


def test_a_token_sees_itself_and_those_before_it():
    mask = causal_mask_from(DOCUMENTS, apart=False)
    np.testing.assert_array_equal(mask[0, 0] == 0, np.tril(np.ones((6, 6), bool)))
    apart = causal_mask_from(DOCUMENTS, apart=True)
    same = DOCUMENTS[0][:, None] == DOCUMENTS[0][None, :]
    np.testing.assert_array_equal(apart[0, 0] == 0, np.tril(same))
    assert tf.reduce_min(apart) == NEVER


def test_what_is_computed_again_has_the_same_gradients():
    """The encoder's too, which come by way of every layer of the decoder; and the same dropout."""
    model, key = random_model("bart", **DROPOUT), step_key(1, tf.constant(0))
    loss, gradients = loss_and_gradients(model, dropout_key=key)
    again, gradients_again = loss_and_gradients(model, dropout_key=key, recomputed=True)
    assert loss == again
    assert max(np.abs(one - other).max() for one, other in zip(gradients, gradients_again, strict=True)) < 1e-5


def test_no_two_parts_drop_the_same():
    """The decoder's parts follow the encoder's."""
    model = random_model("bart", encoder_layers=1, decoder_layers=1, **DROPOUT)
    first, again, other = (
        loss_and_gradients(model, dropout_key=step_key(seed, tf.constant(0)))[0] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert model.decoder.first_part == 2


def test_the_bias_of_the_logits_is_not_trained():
    model = random_model("bart")
    assert "final_logits_bias" in model.weight_map()
    assert not any("final_logits_bias" in variable.name for variable in model.trainable_variables)


def test_frozen_are_layers_of_the_encoder_and_what_is_below():
    model = random_model("bart")
    names = {variable.ref(): name for name, variable in variables_by_name(model).items()}
    trained = {names[variable.ref()] for variable in trained_weights(model, 1)}
    assert {name.split(".")[1] for name in trained} == {"encoder", "decoder"}
    assert all(name.startswith(("model.encoder.layers.1.", "model.decoder.")) for name in trained)
    with pytest.raises(ConfigError, match="at most the number"):
        require_layers(random_model("bart of other sizes").config, 2)


def variables_by_name(model):
    return {name: weight.variable for name, weight in model.weight_map().items()}


@pytest.mark.parametrize("names", [["lm_head.weight"], ["model.encoder.embed_tokens.weight", "lm_head.weight"]])
def test_the_embedding_under_pytorchs_other_names(tmp_path, caplog, names):
    model = random_model("bart")

    def renamed(arrays):
        words = arrays.pop("model.shared.weight")
        del arrays["final_logits_bias"]  # which older files lack: it is zero
        return {**arrays, **{name: words.copy() for name in names}}

    with caplog.at_level(logging.WARNING):
        loaded = load_checkpoint(saved(model, tmp_path / "model", renamed))
    assert loaded.missing == ()
    assert caplog.text == ""
    np.testing.assert_array_equal(loaded.model(token_batch()).logits, model(token_batch()).logits)


def test_another_embedding_of_the_decoder_is_refused(tmp_path):
    other = {"model.decoder.embed_tokens.weight": np.ones((99, 32), np.float32)}
    directory = saved(random_model("bart"), tmp_path / "model", lambda arrays: {**arrays, **other})
    with pytest.raises(ModelError, match="same embedding of tokens"):
        load_checkpoint(directory)


def test_a_new_model_starts_with_its_tokenizers_end_of_sequence():
    ids = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": 8, "sep_token_id": 9, "mask_token_id": 4}
    assert special_ids("bart", SimpleNamespace(**ids))["decoder_start_token_id"] == 8
    assert special_ids("bart", SimpleNamespace(**{**ids, "eos_token_id": None}))["decoder_start_token_id"] == 9
    assert "decoder_start_token_id" not in special_ids("bert", SimpleNamespace(**ids))
    assert build_config("bart", {"decoder_start_token_id": 7}, train_tokenizer()).decoder_start_token_id == 7
