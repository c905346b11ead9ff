"""NEZHA: BERT with positions that are a function of the distance (Wei et al. 2019, https://arxiv.org/abs/1909.00204)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.bert_design import bert_design
from components.modeling.architectures.design import Design
from components.modeling.architectures.names import BERT_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(BERT_NAMES, model="nezha")


def design(config: "PretrainedConfig") -> Design:
    """BERT's, with relative positions in place of the table."""
    return bert_design(config, NAMES, positions="functional", furthest=config.max_relative_position)


NEZHA = Architecture(
    "nezha",
    tiny={**TINY, "max_relative_position": 5},
    variants={"nezha far": {"max_relative_position": 64, "hidden_act": "silu"}},
    design=design,
    pytorch_class="NezhaForMaskedLM",
    unused_weights=("nezha.pooler.", "cls.seq_relationship."),
)
