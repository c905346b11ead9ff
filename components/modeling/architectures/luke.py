"""LUKE: RoBERTa with entities (Yamada et al. 2020, https://arxiv.org/abs/2010.01057), here of words alone."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture
from components.modeling.architectures.bert_design import roberta_design
from components.modeling.architectures.design import Design
from components.modeling.architectures.names import ROBERTA_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(ROBERTA_NAMES, model="luke")


def design(config: "PretrainedConfig") -> Design:
    """RoBERTa's: entities see words by matrices of their own, which words without entities have no part in."""
    return roberta_design(config, NAMES, head_activation="gelu")


LUKE = Architecture(
    "luke",
    tiny={**TINY, "pad_token_id": 1, "entity_vocab_size": 20, "entity_emb_size": 16},
    variants={
        "luke of one query": {"use_entity_aware_attention": False, "hidden_act": "gelu_new"},
        "luke untied": UNTIED,
    },
    design=design,
    pytorch_class="LukeForMaskedLM",
    # transformers 5's class doesn't tie its output matrix, whatever the configuration says.
    pytorch_copies={"lm_head.decoder.weight": "luke.embeddings.word_embeddings.weight"},
    kept_weights=r"^(luke\.entity_embeddings|luke\.pooler|entity_predictions)\.|\.attention\.self\.(w2e|e2w|e2e)_query\.",
)
