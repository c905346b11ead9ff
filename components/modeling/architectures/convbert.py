"""ConvBERT: convolutions beside the attention (Jiang et al. 2020, https://arxiv.org/abs/2008.02496)."""

import numpy as np

from components.modeling.architectures.architecture import TINY, Architecture


def as_column(bias: np.ndarray) -> np.ndarray:
    """(channels,) as (channels, 1): PyTorch adds it to (batch, channels, length)."""
    return bias.reshape(-1, 1)


def channels_first(kernel: np.ndarray) -> np.ndarray:
    """(1, channels, kernel size) as PyTorch has it, (channels, 1, kernel size)."""
    return kernel.swapaxes(0, 1)


CONVBERT = Architecture(
    "convbert",
    tiny={**TINY, "embedding_size": 32},
    variants={
        "convbert in groups": {"embedding_size": 16, "num_groups": 2, "intermediate_size": 64, "head_ratio": 2},
    },
    sees_padding=lambda config: True,  # its convolutions reach into it
    why_not_packable=lambda config: "its convolutions read across documents",
    output_layer="generator_lm_head",
    pytorch_layouts={".key_conv_attn_layer.bias": as_column, ".depthwise.weight": channels_first},
)
