"""The head apart from the model gives the model's own logits, with any length of batch and sequence."""

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.library.adapter import LibraryMaskedLM, as_masked_lm
from serving.graph.language_model import LanguageModel
from tests.modeling.tiny_models import SHORTEST_BATTERY, all_slow_but, random_model

NARROW = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
SIZES = {
    "roformer": {**NARROW, "embedding_size": 8},
    "distilbert": {"vocab_size": 60, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
    "electra": {**NARROW, "embedding_size": 8},
    "bert": NARROW,
    "deberta-v2": NARROW,
    # These two branch on the sequence's length.
    "longformer": {**NARROW, "attention_window": [4]},
    "funnel": {"vocab_size": 60, "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32, "block_sizes": [1, 1]},
}
QUICK = ("roformer", "distilbert")


@pytest.mark.parametrize(
    "model_type",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SIZES],
)
@pytest.mark.filterwarnings("ignore:The initializer TruncatedNormal is unseeded")
def test_head_apart_gives_the_models_probabilities(model_type):
    from transformers import CONFIG_MAPPING

    from components.modeling.configuration import masked_lm_class

    tf.keras.utils.set_random_seed(0)
    model = masked_lm_class(model_type)(CONFIG_MAPPING[model_type](**SIZES[model_type], initializer_range=0.5))
    model.build_in_name_scope()
    language_model = LanguageModel(LibraryMaskedLM(model))
    ask = tf.function(
        lambda ids, mask: (
            language_model.hidden_states(
                ids, mask, tf.fill(tf.shape(ids)[:1], tf.shape(ids)[1]), tf.where(tf.ones_like(ids, tf.bool))
            ),
            language_model.logits(ids, mask),
        ),
        input_signature=[tf.TensorSpec([None, None], tf.int32)] * 2,
        autograph=False,
    )
    for rows, length in ((1, 7), (3, 12)):
        ids = np.random.default_rng(length).integers(5, 60, (rows, length)).astype(np.int32)
        mask = np.ones_like(ids)
        mask[0, -2:] = 0
        expected = model({"input_ids": tf.constant(ids), "attention_mask": tf.constant(mask)}).logits.numpy()
        hidden, logits = ask(ids, mask)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        probabilities = language_model.probabilities(tf.reshape(hidden, [rows, length, -1])[:, 2])
        np.testing.assert_allclose(probabilities, tf.nn.softmax(expected[:, 2]), atol=1e-5)


@pytest.mark.parametrize("model_type", all_slow_but((), battery=SHORTEST_BATTERY))
def test_every_architecture_takes_no_row_and_hardly_a_token(model_type):
    """ConvBERT fails without a row, Funnel with two tokens."""
    language_model = LanguageModel(as_masked_lm(random_model(model_type)))
    for rows, length in ((0, 5), (0, 0), (2, 0), (2, 1), (1, 2)):
        ids = tf.ones([rows, length], tf.int32)
        places = tf.where(ids > 0)
        hidden = language_model.hidden_states(ids, ids, tf.fill([rows], length), places)
        assert hidden.shape == [rows * length, language_model.hidden_size]
        logits = language_model.logits(ids, ids)
        assert logits.shape == [rows, length, language_model.vocabulary_size]
        assert np.isfinite(logits).all()
