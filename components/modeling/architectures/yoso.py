"""YOSO: attention by the chances of equal hashes (Zeng et al. 2021, https://arxiv.org/abs/2111.09714)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.bert_design import bert_design
from components.modeling.architectures.design import Design
from components.modeling.architectures.names import BERT_NAMES
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

FIRST_POSITION = 2
"""The row of a text's first token; the table has two more than `max_position_embeddings`."""
NAMES = dataclasses.replace(BERT_NAMES, model="yoso", value_convolution="attention.self.conv")


def design(config: "PretrainedConfig") -> Design:
    """BERT's, with chances as weights. PyTorch drops none of them.

    Raises:
        ModelError: If hashes are to be drawn, or have no bits.
    """
    if not config.use_expectation:
        raise ModelError(
            "use_expectation of a yoso must be true: hashes drawn at random would answer a text otherwise each time",
            received=f"{config.use_expectation!r}",
            remedy='write "use_expectation": true into its config.json; the weights are the same',
        )
    if config.hash_code_len < 1:
        raise ModelError(
            "hash_code_len of a yoso must be a number of bits from 1",
            received=f"{config.hash_code_len!r}",
            remedy="use the config.json that belongs to the weights",
        )
    return bert_design(
        config,
        NAMES,
        hash_bits=config.hash_code_len,
        value_kernel=config.conv_window or 0,
        attention_dropout=0.0,
        position_count=config.max_position_embeddings + FIRST_POSITION,
        position_offset=FIRST_POSITION,
    )


def why_not_packable(config: "PretrainedConfig") -> str | None:
    """What reads across documents."""
    return "its convolution reads across documents" if config.conv_window else None


YOSO = Architecture(
    "yoso",
    tiny={**TINY, "pad_token_id": 1},
    variants={
        "yoso with a convolution": {
            "conv_window": 5,
            "hash_code_len": 4,
            "hidden_act": "relu",
            "type_vocab_size": 2,
            "layer_norm_eps": 1e-3,
        },
    },
    design=design,
    pytorch_class="YosoForMaskedLM",
    why_not_packable=why_not_packable,
)
