"""Jina embeddings v3: XLM-RoBERTa with rotary positions (Sturua et al. 2024, https://arxiv.org/abs/2409.10173)."""

import dataclasses
from typing import TYPE_CHECKING, Any

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture
from components.modeling.architectures.design import Design
from components.modeling.architectures.later_configuration import LaterConfiguration, with_rope_parameters
from components.modeling.architectures.names import ROBERTA_NAMES
from components.modeling.architectures.rotary_bert import ROTARY_BERT_DEFAULTS, rotary_bert_design

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(
    ROBERTA_NAMES,
    embedding_norm="emb_ln",
    layer="encoder.layers.{}",
    attention_norm="norm1",
    query="mixer.Wqkv",
    attention_output="mixer.out_proj",
    inner_norm="norm2",
    inner="mlp.fc1",
    inner_output="mlp.fc2",
)
THETA = 20_000.0
DEFAULTS = {
    **ROTARY_BERT_DEFAULTS,
    "vocab_size": 250_002,
    "hidden_size": 1_024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4_096,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 8_194,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


def read(written: dict[str, Any]) -> dict[str, Any]:
    """`rope_theta` may stand by itself."""
    return with_rope_parameters(written, THETA)


def design(config: "PretrainedConfig") -> Design:
    """What a Jina embeddings v3 is, by its configuration."""
    return rotary_bert_design(config, NAMES, THETA)


JINA_EMBEDDINGS_V3 = Architecture(
    "jina_embeddings_v3",
    tiny=TINY,
    variants={
        "jina_embeddings_v3 untied": {**UNTIED, "hidden_act": "gelu_new", "type_vocab_size": 2},
        "jina_embeddings_v3 of scaled positions": {
            "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 700.0},
            "num_attention_heads": 2,
            "layer_norm_eps": 1e-3,
        },
    },
    later_configuration=LaterConfiguration(DEFAULTS, read),
    design=design,
    pytorch_class="JinaEmbeddingsV3ForMaskedLM",
)
