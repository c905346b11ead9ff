"""Megatron-BERT: BERT with norms before what they were after (Shoeybi et al. 2019, https://arxiv.org/abs/1909.08053)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture
from components.modeling.architectures.bert_design import bert_design
from components.modeling.architectures.design import Design
from components.modeling.architectures.names import BERT_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(BERT_NAMES, attention_norm="attention.ln", inner_norm="ln", final_norm="encoder.ln")


def design(config: "PretrainedConfig") -> Design:
    """BERT's, with norms first, and none of the embeddings."""
    return bert_design(config, NAMES, norm_first=True, embedding_norm=False)


MEGATRON_BERT = Architecture(
    "megatron-bert",
    tiny=TINY,
    variants={"megatron-bert untied": {**UNTIED, "hidden_act": "gelu_new"}},
    design=design,
    pytorch_class="MegatronBertForMaskedLM",
    unused_weights=("bert.pooler.", "cls.seq_relationship."),
)
