"""GTE: BERT with rotary positions and gates (Zhang et al. 2024, https://arxiv.org/abs/2407.19669).

Its authors' own code calls it `new`.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture
from components.modeling.architectures.design import Design
from components.modeling.architectures.later_configuration import (
    LaterConfiguration,
    require_only,
    with_rope_parameters,
)
from components.modeling.architectures.names import BERT_NAMES
from components.modeling.architectures.rotary_bert import ROTARY_BERT_DEFAULTS, rotary_bert_design

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(
    BERT_NAMES,
    model="gte",
    attention_norm="attn_ln",
    query="attention.qkv_proj",
    attention_output="attention.o_proj",
    inner_norm="mlp_ln",
    inner="mlp.up_gate_proj",
    inner_output="mlp.down_proj",
    head="lm_head.dense",
    head_norm="lm_head.norm",
    head_bias="lm_head.decoder.bias",
    head_output="lm_head.decoder",
)
THETA = 160_000.0
AUTHORS_THETA = 10_000.0
DEFAULTS = {
    **ROTARY_BERT_DEFAULTS,
    "vocab_size": 250_048,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 8_192,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}


def read(written: dict[str, Any]) -> dict[str, Any]:
    """What the authors' own code writes has more options."""
    if written.pop("model_type", None) != "new":
        return with_rope_parameters(written, THETA)
    require_only(
        written,
        "gte",
        position_embedding_type=("rope",),
        layer_norm_type=("layer_norm",),
        pack_qkv=(True,),
        logn_attention_scale=(False,),
        logn_attention_clip1=(),
        unpad_inputs=(),
        use_memory_efficient_attention=(),
    )
    written = with_rope_parameters(written, AUTHORS_THETA)
    rope = written["rope_parameters"]
    if rope["rope_type"] == "ntk" and rope.get("mixed_b") is None:
        # NTK-aware scaling, fixed (Peng 2023, https://kexue.fm/archives/9706): the base grows by the factor, and all
        # frequencies shrink by what is left of it.
        factor, size = float(rope["factor"]), written["hidden_size"] // written["num_attention_heads"]
        written["rope_parameters"] = {
            "rope_type": "linear",
            "rope_theta": rope["rope_theta"] * factor,
            "factor": factor ** (2 / size),
        }
    return written


def design(config: "PretrainedConfig") -> Design:
    """What a GTE is, by its configuration."""
    return rotary_bert_design(
        config, NAMES, THETA, gate="first", inner_bias=False, inner_dropout=config.hidden_dropout_prob
    )


GTE = Architecture(
    "gte",
    tiny={**TINY, "pad_token_id": 1},
    variants={
        "gte without types": {**UNTIED, "type_vocab_size": 0},
        "gte of scaled positions": {
            "rope_parameters": {"rope_type": "linear", "factor": 1.5, "rope_theta": 300.0},
            "layer_norm_eps": 1e-3,
        },
    },
    pytorch_renames={r"^new\.": "gte."},
    later_configuration=LaterConfiguration(DEFAULTS, read, other_types=("new",)),
    design=design,
    pytorch_class="GteForMaskedLM",
)
