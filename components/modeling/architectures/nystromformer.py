"""Nyströmformer: attention by landmarks, and a convolution (Xiong et al. 2021, https://arxiv.org/abs/2102.03902)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.bert_design import bert_design
from components.modeling.architectures.design import Design, require_values
from components.modeling.architectures.landmarks import landmarks
from components.modeling.architectures.names import BERT_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

FIRST_POSITION = 2
"""The row of a text's first token; the table has two more than `max_position_embeddings`."""
NAMES = dataclasses.replace(BERT_NAMES, model="nystromformer", value_convolution="attention.self.conv")


def design(config: "PretrainedConfig") -> Design:
    """BERT's, with landmarks where there are fewer than `segment_means_seq_len`. PyTorch drops no attention weights.

    PyTorch's class fails with `inv_coeff_init_option`, which it misspells.
    """
    require_values(config, inv_coeff_init_option=(False,))
    return bert_design(
        config,
        NAMES,
        landmarks=landmarks(config),
        value_kernel=config.conv_kernel_size or 0,
        attention_dropout=0.0,
        position_count=config.max_position_embeddings + FIRST_POSITION,
        position_offset=FIRST_POSITION,
    )


def why_not_packable(config: "PretrainedConfig") -> str | None:
    """What reads across documents."""
    if landmarks(config) is not None:
        return "its landmarks are means over documents"
    return "its convolution reads across documents" if config.conv_kernel_size else None


NYSTROMFORMER = Architecture(
    "nystromformer",
    tiny={**TINY, "pad_token_id": 1, "conv_kernel_size": 5},
    variants={
        "nystromformer by landmarks": {"num_landmarks": 4, "segment_means_seq_len": 24},
        "nystromformer by landmarks alone": {
            "num_landmarks": 8,
            "segment_means_seq_len": 27,
            "conv_kernel_size": None,
            "hidden_act": "relu",
        },
        "nystromformer without a convolution": {"conv_kernel_size": None, "layer_norm_eps": 1e-3},
    },
    design=design,
    pytorch_class="NystromformerForMaskedLM",
    why_not_packable=why_not_packable,
)
