"""RoCBert: BERT of Chinese whose tokens also have a shape and a sound (Su et al. 2022, https://aclanthology.org/2022.acl-long.65)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.bert_design import bert_design
from components.modeling.architectures.design import Design, SideTable
from components.modeling.architectures.names import BERT_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(BERT_NAMES, model="roc_bert", sides="embeddings.map_inputs_layer")


def design(config: "PretrainedConfig") -> Design:
    """BERT's: shapes and sounds are those of id 0, as in PyTorch where a text comes without them."""
    sides = []
    if config.concat_input and config.enable_shape:
        sides.append(SideTable("embeddings.shape_embed", config.shape_vocab_size, config.shape_embed_dim))
    if config.concat_input and config.enable_pronunciation:
        size = config.pronunciation_embed_dim
        sides.append(SideTable("embeddings.pronunciation_embed", config.pronunciation_vocab_size, size))
    return bert_design(config, NAMES, sides=tuple(sides), maps_words=bool(config.concat_input))


ROC_BERT = Architecture(
    "roc_bert",
    tiny={
        **TINY,
        "shape_vocab_size": 9,
        "shape_embed_dim": 8,
        "pronunciation_vocab_size": 7,
        "pronunciation_embed_dim": 4,
    },
    variants={
        "roc_bert of words": {"concat_input": False},
        "roc_bert of shapes": {"enable_pronunciation": False, "hidden_act": "relu"},
    },
    design=design,
    pytorch_class="RoCBertForMaskedLM",
    unused_weights=("roc_bert.pooler.",),
    kept_weights=r"\.(shape|pronunciation)_embed\.weight$",
)
