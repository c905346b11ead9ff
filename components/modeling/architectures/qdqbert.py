"""QDQBERT: BERT with quantizers, here as it is without them (Wu et al. 2020, https://arxiv.org/abs/2004.09602)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.bert_design import bert_design
from components.modeling.architectures.design import Design

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def design(config: "PretrainedConfig") -> Design:
    """BERT's."""
    return bert_design(config)


QDQBERT = Architecture(
    "qdqbert",
    tiny={**TINY, "pad_token_id": 1},
    design=design,
    pytorch_class="QDQBertForMaskedLM",
    unused_weights=("bert.pooler.", "cls.seq_relationship."),
    kept_weights=r"_quantizer\.\w+$",
)
