"""Funnel: the sequence is pooled on its way up (Dai et al. 2020, https://arxiv.org/abs/2006.03236)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import Architecture
from components.modeling.architectures.xlm import beyond_float16

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def is_factorized(config: "PretrainedConfig") -> bool:
    """Whether the attention's positions are factorized."""
    return bool(config.attention_type == "factorized")


def why_not_bfloat16(config: "PretrainedConfig") -> str | None:
    """What computes in float32 only."""
    return "funnel with factorized attention, whose positions are float32" if is_factorized(config) else None


def why_not_exported(config: "PretrainedConfig") -> str | None:
    """What the library computes in Python from a length that must be known."""
    return "funnel with factorized attention, whose positions need a fixed length" if is_factorized(config) else None


FUNNEL = Architecture(
    "funnel",
    tiny={
        "vocab_size": 99,
        "d_model": 32,
        "n_head": 4,
        "d_head": 8,
        "d_inner": 36,
        "block_sizes": [1, 1, 1],
        "num_decoder_layers": 1,
    },
    variants={
        "funnel factorized": {
            "block_sizes": [2, 2],
            "num_decoder_layers": 2,
            "separate_cls": False,
            "attention_type": "factorized",
        },
    },
    has_position_limit=lambda config: False,  # relative positions, computed for any length
    heads_divide_hidden_size=False,  # they have a size of their own, d_head
    mask_inside=None,
    why_not_packable=lambda config: "it pools neighboring tokens into one, of two documents too",
    why_not_in={"mixed_bfloat16": why_not_bfloat16, "mixed_float16": beyond_float16},
    layer_name=r"\.blocks\.(\d+)\.(\d+)\.",
    after_layers=("funnel.decoder.",),
    sees_padding=lambda config: True,  # it is pooled with the text's last tokens
    why_not_exported=why_not_exported,
    branches_on_tensors=lambda config: True,
    output_layer="lm_head",
)
