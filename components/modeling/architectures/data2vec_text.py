"""Data2VecText: RoBERTa's layers, trained to predict a teacher's states (Baevski et al. 2022, https://arxiv.org/abs/2202.03555)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.bert_design import roberta_design
from components.modeling.architectures.design import Design
from components.modeling.architectures.names import ROBERTA_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(ROBERTA_NAMES, model="data2vec_text")


def design(config: "PretrainedConfig") -> Design:
    """RoBERTa's, under another name."""
    return roberta_design(config, NAMES)


DATA2VEC_TEXT = Architecture(
    "data2vec-text",
    tiny={**TINY, "pad_token_id": 1},
    design=design,
    pytorch_class="Data2VecTextForMaskedLM",
    unused_weights=("data2vec_text.pooler.",),
)
