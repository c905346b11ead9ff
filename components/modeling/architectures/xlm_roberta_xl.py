"""XLM-RoBERTa-XL: norms before what RoBERTa's are after (Goyal et al. 2021, https://arxiv.org/abs/2105.00572)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture
from components.modeling.architectures.bert_design import roberta_design
from components.modeling.architectures.design import Design
from components.modeling.architectures.names import ROBERTA_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(
    ROBERTA_NAMES,
    attention_norm="attention.self_attn_layer_norm",
    inner_norm="LayerNorm",
    final_norm="encoder.LayerNorm",
)


def design(config: "PretrainedConfig") -> Design:
    """RoBERTa's, with norms first, and none of the embeddings."""
    return roberta_design(config, NAMES, norm_first=True, embedding_norm=False)


XLM_ROBERTA_XL = Architecture(
    "xlm-roberta-xl",
    tiny={**TINY, "pad_token_id": 1},
    variants={"xlm-roberta-xl untied": {**UNTIED, "hidden_act": "relu"}},
    design=design,
    pytorch_class="XLMRobertaXLForMaskedLM",
    unused_weights=("roberta.pooler.",),
)
