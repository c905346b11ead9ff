"""RoBERTa: BERT's layers, trained longer (Liu et al. 2019, https://arxiv.org/abs/1907.11692)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def after_padding(config: "PretrainedConfig") -> int:
    """Positions begin after the padding token's id, which TensorFlow's classes fix at 1 whatever the tokenizer says."""
    return 2


ROBERTA = Architecture("roberta", tiny=TINY, first_position=after_padding, output_layer="lm_head.decoder")
