"""I-BERT: RoBERTa for integers, here as it is trained, with floats (Kim et al. 2021, https://arxiv.org/abs/2101.01321)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.bert_design import roberta_design
from components.modeling.architectures.design import Design, require_values
from components.modeling.architectures.names import ROBERTA_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(ROBERTA_NAMES, model="ibert")


def design(config: "PretrainedConfig") -> Design:
    """RoBERTa's: what quantizes has a part only with quant_mode, and I-BERT has no activation but the GELU."""
    require_values(config, quant_mode=(False,), hidden_act=("gelu",))
    return roberta_design(config, NAMES)


IBERT = Architecture(
    "ibert",
    tiny={**TINY, "pad_token_id": 1},
    design=design,
    pytorch_class="IBertForMaskedLM",
    unused_weights=("ibert.pooler.",),
    kept_weights=r"\.(x_min|x_max|shift|\w+_scaling_factor|\w+_integer)$",
)
