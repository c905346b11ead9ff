"""ERNIE: BERT's layers, with tasks (Sun et al. 2020, https://arxiv.org/abs/1907.12412)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture
from components.modeling.architectures.bert_design import bert_design
from components.modeling.architectures.design import Design
from components.modeling.architectures.names import BERT_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(BERT_NAMES, model="ernie")


def design(config: "PretrainedConfig") -> Design:
    """BERT's, and a table of tasks where those are used: of which a masked LM has the first."""
    return bert_design(config, NAMES, tasks=config.task_type_vocab_size if config.use_task_id else 0)


ERNIE = Architecture(
    "ernie",
    tiny=TINY,
    variants={"ernie with tasks": {"use_task_id": True, "hidden_act": "relu"}, "ernie untied": UNTIED},
    design=design,
    pytorch_class="ErnieForMaskedLM",
    unused_weights=("ernie.pooler.", "cls.seq_relationship."),
)
