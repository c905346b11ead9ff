"""Our own encoder: what a training, a server and a reader of its files ask of it."""

import json
import logging

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from components.masking.masking import IGNORED_LABEL
from components.modeling.architectures.records import ARCHITECTURES, architecture_of
from components.modeling.checkpoint import load_checkpoint, load_masked_lm
from components.modeling.configuration import plain_config, require_positions
from components.modeling.growing import grow
from components.modeling.library.dropout import step_key
from components.modeling.new_model import new_masked_lm
from components.modeling.pytorch_weights import save_pytorch_weights
from components.training.training_model import masked_cross_entropy
from foundation.errors import ConfigError, ModelError
from tests.modeling.tiny_models import random_model, token_batch

DROPOUT = {"attention_dropout": 0.3, "mlp_dropout": 0.3, "embedding_dropout": 0.3}
POSITIONS = tf.constant([[1, 4, 9], [0, 2, 3]])
LABELS = tf.constant([[7, 8, 9], [12, 13, IGNORED_LABEL]])


def inputs():
    return {name: tf.constant(value) for name, value in token_batch().items()}


def loss_and_gradients(model, **how):
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        total, _ = masked_cross_entropy(model.logits_at(inputs(), POSITIONS, **how), LABELS)
    return total.numpy(), [tf.convert_to_tensor(gradient) for gradient in tape.gradient(total, variables)]


def largest_difference(first, second):
    return max(np.abs(one - other).max() for one, other in zip(first, second, strict=True))


def saved(model, directory):
    directory.mkdir()
    save_pytorch_weights(model, directory)
    return directory


def rewritten(directory, change):
    """A checkpoint whose weights are changed in its file."""
    arrays = load_file(directory / "model.safetensors")
    save_file(change(arrays), directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def test_dropout_is_a_function_of_the_key():
    model = random_model("modernbert", **DROPOUT)
    first, again, other = (
        loss_and_gradients(model, dropout_key=step_key(seed, tf.constant(0)))[0] for seed in (1, 1, 2)
    )
    assert first == again
    assert abs(first - other) > 1e-3
    assert abs(first - loss_and_gradients(model)[0]) > 1e-3


def test_what_is_computed_again_is_the_same():
    """Its dropout included."""
    model, key = random_model("modernbert", **DROPOUT), step_key(1, tf.constant(0))
    loss, gradients = loss_and_gradients(model, dropout_key=key)
    again, gradients_again = loss_and_gradients(model, dropout_key=key, recomputed=True)
    assert loss == again
    assert largest_difference(gradients, gradients_again) < 1e-6


def test_small_kernels_that_are_compiled_change_nothing():
    model = random_model("modernbert with biases")
    loss, gradients = loss_and_gradients(model)
    fused_loss, fused_gradients = loss_and_gradients(model, fused=True)
    assert loss == pytest.approx(fused_loss, rel=1e-6)
    assert largest_difference(gradients, fused_gradients) < 1e-5


def test_a_call_is_as_of_the_librarys_models():
    """By name or as a dictionary; with dropout where it is asked for; of no rows."""
    model, batch = random_model("modernbert", **DROPOUT), token_batch()
    logits = model(batch).logits
    np.testing.assert_array_equal(model(**batch).logits, logits)
    assert np.abs(model(batch, training=True).logits - logits).max() > 1e-2
    nothing = {name: value[:0] for name, value in batch.items()}
    assert model(nothing).logits.shape == (0, *logits.shape[1:])


def test_pytorchs_bias_under_its_other_name_and_shards(tmp_path):
    model = random_model("ernie")
    directory = saved(model, tmp_path / "model")
    arrays = load_file(directory / "model.safetensors")
    arrays["cls.predictions.decoder.bias"] = arrays.pop("cls.predictions.bias")
    names = sorted(arrays)
    (directory / "model.safetensors").unlink()
    weight_map = {name: f"model-{1 + number % 2}.safetensors" for number, name in enumerate(names)}
    for shard in set(weight_map.values()):
        save_file({name: arrays[name] for name in names if weight_map[name] == shard}, directory / shard)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    np.testing.assert_array_equal(load_masked_lm(directory)(token_batch()).logits, model(token_batch()).logits)


def test_a_base_models_file_gets_a_new_head_and_says_so(tmp_path):
    """It has the names without the model's own, and its pooler has no place here."""
    model = random_model("modernbert")
    directory = rewritten(
        saved(model, tmp_path / "model"),
        lambda arrays: {name.removeprefix("model."): array for name, array in arrays.items() if name[:5] == "model"},
    )
    loaded = load_checkpoint(directory)
    assert sorted(loaded.missing) == ["decoder.bias", "head.dense.weight", "head.norm.weight"]
    assert loaded.has_new_head
    np.testing.assert_array_equal(loaded.model.hidden(inputs()), model.hidden(inputs()))


def test_weights_of_other_names_are_listed(tmp_path, caplog):
    directory = rewritten(
        saved(random_model("ernie"), tmp_path / "model"),
        lambda arrays: {**arrays, "ernie.encoder.layer.9.output.dense.bias": np.zeros(3, np.float32)},
    )
    with caplog.at_level(logging.WARNING):
        load_masked_lm(directory)
    assert "no place for, and that aren't used: ernie.encoder.layer.9.output.dense.bias." in caplog.text


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda arrays: {n: a for n, a in arrays.items() if "layers.1." not in n}, "must hold the weights"),
        (lambda arrays: {**arrays, "model.final_norm.weight": np.ones(5, np.float32)}, "shapes that config.json says"),
        (lambda arrays: {**arrays, "model.final_norm.weight": np.ones(32, np.int8)}, "floating-point"),
        (lambda arrays: {**arrays, "model.final_norm.weight": np.full(32, np.nan, np.float32)}, "finite numbers"),
        (lambda arrays: {**arrays, "decoder.weight": np.ones((99, 32), np.float32)}, "must be the input embeddings"),
    ],
)
def test_damaged_weights_are_refused(tmp_path, change, rule):
    directory = rewritten(saved(random_model("modernbert"), tmp_path / "model"), change)
    with pytest.raises(ModelError, match=rule):
        load_masked_lm(directory)


@pytest.mark.parametrize(
    ("model_type", "option", "received"),
    [
        ("modernbert", {"hidden_activation": "laplace"}, "'laplace'"),
        ("modernbert", {"rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 2.0}}}, "yarn"),
        ("modernbert", {"layer_types": ["full_attention", "chunked_attention"] * 2}, "chunked_attention"),
        ("modernbert", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "dynamic"),
        ("ernie", {"position_embedding_type": "relative_key"}, "'relative_key'"),
        ("ibert", {"quant_mode": True}, "True"),
        ("big_bird", {"rescale_embeddings": True}, "True"),
        ("nezha", {"num_attention_heads": 5}, "5 heads"),
        ("esmc", {"hidden_act": "laplace"}, "'laplace'"),
        ("esmc", {"position_embedding_type": "alibi"}, "'alibi'"),
        ("eurobert", {"use_alibi": True}, "True"),
        ("gte", {"sliding_window": 128}, "128"),
        ("modernbert", {"position_embedding_type": "relative_key"}, "'relative_key'"),
        ("fnet", {"position_embedding_type": "rotary"}, "'rotary'"),
        ("ernie", {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}, "rope_theta"),
        ("perceiver", {"position_encoding_type": "fourier"}, "'fourier'"),
        ("esmc", {"tie_word_embeddings": True}, "True"),
        ("esmc", {"num_key_value_heads": 2}, "2"),
        ("esmc", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "yarn"),
        ("bart", {"tie_word_embeddings": False}, "False"),
        ("bart", {"encoder_layerdrop": 0.1}, "0.1"),
        ("bart", {"normalize_before": True}, "True"),
        ("bart", {"decoder_start_token_id": None}, "None"),
        ("bart", {"decoder_start_token_id": 99}, "99"),
        ("bart", {"decoder_attention_heads": 5}, "5 heads"),
        ("mvp", {"use_prompt": True}, "True"),
        ("mbart", {"normalize_before": False}, "False"),
        ("nystromformer", {"inv_coeff_init_option": True}, "True"),
        ("nystromformer", {"conv_kernel_size": 4}, "4"),
        ("nystromformer", {"num_landmarks": 65}, "num_landmarks 65"),
        ("nystromformer", {"num_landmarks": 4, "segment_means_seq_len": 128}, "segment_means_seq_len 128"),
        ("yoso", {"use_expectation": False}, "False"),
        ("yoso", {"hash_code_len": 0}, "0"),
        ("squeezebert", {"embedding_size": 16}, "16"),
        ("squeezebert", {"v_groups": 5}, "5 groups of 32"),
        ("squeezebert", {"output_groups": 8}, "8 groups of 32 and 36"),
    ],
)
def test_an_option_that_the_design_does_not_know_is_refused(model_type, option, received):
    config = plain_config(model_type, {**ARCHITECTURES[model_type].tiny, **option})
    with pytest.raises(ModelError) as refusal:
        new_masked_lm(config)
    assert received in refusal.value.received


def test_queries_and_keys_with_norms_have_no_scale_but_theirs():
    """And a layer adds the more, the fewer there are."""
    model = random_model("esmc", num_hidden_layers=1)
    logits, weights = model(token_batch()).logits, model.weight_map()
    assert model.design.residual_scale == 6
    for name in ("esmc.layers.0.self_attn.q_proj.weight", "esmc.layers.0.self_attn.k_proj.weight"):
        weights[name].variable.assign(3 * weights[name].variable)
    np.testing.assert_allclose(model(token_batch()).logits, logits, atol=1e-3)
    weights["esmc.layers.0.self_attn.q_norm.weight"].variable.assign(tf.fill([32], 3.0))
    assert np.abs(model(token_batch()).logits - logits).max() > 1e-2


@pytest.mark.parametrize(
    ("model_type", "option"),
    [
        ("modernbert", {"position_embedding_type": "absolute"}),  # as its authors' file has it
        ("modernbert", {"position_embedding_type": "sans_pos"}),  # as that of mmBERT
        ("esmc", {"position_embedding_type": "rotary", "sliding_window": None, "use_alibi": False}),
    ],
)
def test_an_option_that_asks_for_nothing_is_passed_over(model_type, option):
    config = plain_config(model_type, {**ARCHITECTURES[model_type].tiny, **option})
    assert architecture_of(config).design_of(config).positions == "rotary"


def test_a_modernbert_as_transformers_5_writes_it():
    """Kinds of layers and rotations by kind, in place of a rule and two numbers."""
    values = ARCHITECTURES["modernbert"].tiny
    older = plain_config("modernbert", {**values, "global_attn_every_n_layers": 2, "local_rope_theta": 5_000.0})
    kinds = {"full_attention": 160_000.0, "sliding_attention": 5_000.0}
    later = plain_config(
        "modernbert",
        {
            **values,
            "layer_types": ["full_attention", "sliding_attention"] * 2,
            "rope_parameters": {k: {"rope_type": "default", "rope_theta": theta} for k, theta in kinds.items()},
        },
    )
    design = architecture_of(older).design_of
    assert design(older) == design(later)
    assert design(older).windows == (0, 4, 0, 4)


def test_blocks_beyond_a_few_are_refused_by_their_number():
    config = plain_config("big_bird", {"max_position_embeddings": 4_096})
    require_positions(config, 704)
    with pytest.raises(ConfigError, match="704 tokens for this big_bird"):
        require_positions(config, 705)
    require_positions(plain_config("big_bird", {"attention_type": "original_full"}), 4_096)


def test_entities_are_kept_and_saved_again(tmp_path):
    """Also by a model that grows by a word."""
    entities = {
        "luke.entity_embeddings.entity_embeddings.weight": np.ones((20, 16), np.float32),
        "entity_predictions.bias": np.ones(20, np.float32),
        "luke.encoder.layer.0.attention.self.w2e_query.weight": np.ones((32, 32), np.float32),
    }
    directory = rewritten(saved(random_model("luke"), tmp_path / "model"), lambda arrays: {**arrays, **entities})
    grown = grow(load_masked_lm(directory), {99: [5, 6]})
    arrays = load_file(saved(grown, tmp_path / "again") / "model.safetensors")
    assert arrays["luke.embeddings.word_embeddings.weight"].shape == (100, 32)
    assert arrays.keys() >= entities.keys()
    assert all(np.array_equal(arrays[name], array) for name, array in entities.items())
