"""mBART: BART of many languages, with norms first (Liu et al. 2020, https://arxiv.org/abs/2001.08210); mBART-50 too."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import Architecture
from components.modeling.architectures.bart_design import OTHER_SIZES, OTHER_WORDS, TINY_BART, bart_design
from components.modeling.architectures.design import Design

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def design(config: "PretrainedConfig") -> Design:
    """A text's last token, which says its language where its tokenizer puts that there, begins it for the decoder."""
    return bart_design(config, norm_first=True, start_token_id=None)


MBART = Architecture(
    "mbart",
    tiny=TINY_BART,
    variants={"mbart of other sizes": OTHER_SIZES},
    design=design,
    pytorch_class="MBartForConditionalGeneration",
    pytorch_aliases=OTHER_WORDS,
    optional_weights=("final_logits_bias",),
)
