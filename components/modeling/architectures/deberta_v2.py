"""DeBERTa's second and third version (He et al. 2021, https://arxiv.org/abs/2111.09543)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import RELATIVE_ATTENTION, TINY, Architecture
from components.modeling.architectures.deberta import OWN_HEAD, adds_positions, is_relative

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def has_convolution(config: "PretrainedConfig") -> bool:
    """Whether a convolution stands beside the first layer."""
    return getattr(config, "conv_kernel_size", 0) > 0


def why_not_packable(config: "PretrainedConfig") -> str | None:
    """What reads across documents."""
    return "its convolution (conv_kernel_size) reads across documents" if has_convolution(config) else None


def why_not_mixed(config: "PretrainedConfig") -> str | None:
    """What computes in float32 only."""
    reason = "deberta-v2 with conv_kernel_size, whose convolution has a float32 mask"
    return reason if has_convolution(config) else None


DEBERTA_V2 = Architecture(
    "deberta-v2",
    tiny=TINY,
    variants={
        "deberta-v2 in buckets": {
            **RELATIVE_ATTENTION,
            "position_buckets": 8,
            "max_relative_positions": 9,
            "share_att_key": True,
        },
        "deberta-v2 relative": {
            **RELATIVE_ATTENTION,
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "conv_kernel_size": 3,
            "conv_act": "gelu",
            "type_vocab_size": 0,
            "position_biased_input": False,
        },
    },
    has_position_limit=adds_positions,
    why_not_packable=why_not_packable,
    branches_on_tensors=is_relative,
    pytorch_aliases=OWN_HEAD,
    why_not_in=dict.fromkeys(("mixed_bfloat16", "mixed_float16"), why_not_mixed),
)
