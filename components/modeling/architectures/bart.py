"""BART: an encoder with a decoder that writes the text again (Lewis et al. 2019, https://arxiv.org/abs/1910.13461)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import Architecture
from components.modeling.architectures.bart_design import (
    OTHER_SIZES,
    OTHER_WORDS,
    TINY_BART,
    bart_design,
    start_token,
)
from components.modeling.architectures.design import Design

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def design(config: "PretrainedConfig") -> Design:
    """Norms come after, and texts begin with a token that the configuration names."""
    return bart_design(config, norm_first=False, start_token_id=start_token(config))


BART = Architecture(
    "bart",
    tiny=TINY_BART,
    variants={"bart of other sizes": {**OTHER_SIZES, "decoder_start_token_id": 7}},
    design=design,
    pytorch_class="BartForConditionalGeneration",
    pytorch_aliases=OTHER_WORDS,
    optional_weights=("final_logits_bias",),
    special_ids={"decoder_start_token_id": ("eos", "sep")},
)
