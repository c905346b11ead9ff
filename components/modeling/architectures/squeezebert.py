"""SqueezeBERT: BERT whose products are in groups (Iandola et al. 2020, https://arxiv.org/abs/2006.11316)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.bert_design import bert_design
from components.modeling.architectures.design import Design, require_values
from components.modeling.architectures.groups import Groups
from components.modeling.architectures.names import BERT_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(
    BERT_NAMES,
    model="transformer",
    layer="encoder.layers.{}",
    attention_norm="post_attention.layernorm",
    query="attention.query",
    key="attention.key",
    value="attention.value",
    attention_output="post_attention.conv1d",
    inner_norm="output.layernorm",
    inner="intermediate.conv1d",
    inner_output="output.conv1d",
)
LAYER_EPSILON = 1e-12
"""What the norms in PyTorch's layers add, whatever `layer_norm_eps` says."""


def design(config: "PretrainedConfig") -> Design:
    """BERT's, with groups."""
    require_values(config, embedding_size=(config.hidden_size,))
    groups = Groups(
        query=config.q_groups,
        key=config.k_groups,
        value=config.v_groups,
        attention_output=config.post_attention_groups,
        inner=config.intermediate_groups,
        inner_output=config.output_groups,
    )
    return bert_design(config, NAMES, groups=groups, layer_norm_epsilon=LAYER_EPSILON)


OPTIONS = ("q_groups", "k_groups", "v_groups", "intermediate_groups", "output_groups")
SQUEEZEBERT = Architecture(
    "squeezebert",
    tiny={**TINY, "embedding_size": 32, **dict.fromkeys(OPTIONS, 2)},
    variants={
        "squeezebert in other groups": {
            "q_groups": 1,
            "k_groups": 4,
            "v_groups": 8,
            "post_attention_groups": 2,
            "intermediate_groups": 4,
            "output_groups": 1,
            "hidden_act": "relu",
            "layer_norm_eps": 1e-2,
        },
    },
    design=design,
    pytorch_class="SqueezeBertForMaskedLM",
    unused_weights=("cls.seq_relationship.",),
    kept_weights=r"^transformer\.pooler\.",
)
