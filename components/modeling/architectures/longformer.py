"""Longformer: attention within a window (Beltagy et al. 2020, https://arxiv.org/abs/2004.05150)."""

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.roberta import after_padding

LONGFORMER = Architecture(
    "longformer",
    tiny={**TINY, "attention_window": [4, 4]},
    first_position=after_padding,
    mask_inside=None,
    why_not_packable=lambda config: "its windowed attention takes one mask a block, not one a token",
    why_not_in=dict.fromkeys(
        ("mixed_bfloat16", "mixed_float16"),
        lambda config: "longformer, which joins float32 scores with others in its global attention",
    ),
    why_not_compiled=lambda config: "longformer, which branches on its inputs",
    branches_on_tensors=lambda config: True,
    output_layer="lm_head.decoder",
)
