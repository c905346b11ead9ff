"""A small random model of every architecture that has a TensorFlow masked-LM class."""

from typing import Any

import numpy as np
import tensorflow as tf
from transformers import CONFIG_MAPPING, TFPreTrainedModel

from components.modeling.configuration import masked_lm_class

BATCH, LENGTH, VOCABULARY = 2, 16, 99
NARROW = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 36,
    "max_position_embeddings": 64,
}
"""Sizes that most configurations call so."""
XLM = {"vocab_size": VOCABULARY, "emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64}
DISTILBERT = {
    "vocab_size": VOCABULARY,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 36,
    "max_position_embeddings": 64,
}
FUNNEL = {"vocab_size": VOCABULARY, "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 36}
SIZES: dict[str, dict[str, Any]] = {
    "albert": {**NARROW, "embedding_size": 16},
    "convbert": {**NARROW, "embedding_size": 32},
    "distilbert": DISTILBERT,
    "electra": {**NARROW, "embedding_size": 16},
    "esm": {**NARROW, "pad_token_id": 1, "mask_token_id": 32},
    "flaubert": XLM,
    "funnel": {**FUNNEL, "block_sizes": [1, 1, 1], "num_decoder_layers": 1},
    "longformer": {**NARROW, "attention_window": [4, 4]},
    "mobilebert": {**NARROW, "embedding_size": 32, "intra_bottleneck_size": 16},
    "rembert": {**NARROW, "input_embedding_size": 16, "output_embedding_size": 24},
    "roformer": {**NARROW, "embedding_size": 16},
    "xlm": XLM,
}
"""Configuration values by architecture; the others take `NARROW`."""

UNTIED = {"tie_word_embeddings": False}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "albert in groups": ("albert", {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2, **UNTIED}),
    "bert untied": ("bert", UNTIED),
    "convbert in groups": (
        "convbert",
        {"embedding_size": 16, "num_groups": 2, "intermediate_size": 64, "head_ratio": 2},
    ),
    "deberta relative": (
        "deberta",
        {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16},
    ),
    "deberta-v2 relative": (
        "deberta-v2",
        {
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "conv_kernel_size": 3,
            "conv_act": "gelu",
            "type_vocab_size": 0,
            "position_biased_input": False,
        },
    ),
    "distilbert sinusoidal": ("distilbert", {"sinusoidal_pos_embds": True, **UNTIED}),
    "electra untied": ("electra", {"embedding_size": 32, **UNTIED}),
    "esm rotary": ("esm", {"position_embedding_type": "rotary", "emb_layer_norm_before": True}),
    "esm untied": ("esm", UNTIED),
    "funnel factorized": (
        "funnel",
        {"block_sizes": [2, 2], "num_decoder_layers": 2, "separate_cls": False, "attention_type": "factorized"},
    ),
    "mobilebert bottleneck": (
        "mobilebert",
        {"hidden_size": 48, "embedding_size": 16, "use_bottleneck_attention": True},
    ),
    "rembert square": ("rembert", {"output_embedding_size": 16}),
    "roformer rotary value": ("roformer", {"embedding_size": 32, "rotary_value": True, **UNTIED}),
    "xlm with languages": ("xlm", {"n_langs": 3, "use_lang_emb": True}),
}
"""Configurations with weights of other kinds, by a name: architecture, and values over its `SIZES`."""


def random_model(model_type: str, **values: Any) -> TFPreTrainedModel:
    """A two-layer model; trained weights are random, so that a bias left out or applied twice shows.

    Args:
        model_type: An architecture.
        values: Configuration values over those of `SIZES`.
    """
    tf.keras.utils.set_random_seed(7)
    config = CONFIG_MAPPING[model_type](**{**SIZES.get(model_type, NARROW), **values})
    model = masked_lm_class(model_type)(config)
    model.build_in_name_scope()
    for variable in model.trainable_variables:
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.05))
    return model


def token_batch() -> dict[str, np.ndarray]:
    """`input_ids` and `attention_mask` (BATCH, LENGTH) int32; the second row ends in four places of padding."""
    ids = np.random.default_rng(0).integers(5, VOCABULARY - 1, (BATCH, LENGTH)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[1, -4:] = 0
    return {"input_ids": ids, "attention_mask": mask}
