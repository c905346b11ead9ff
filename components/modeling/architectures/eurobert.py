"""EuroBERT: LLaMA's layers in both directions (Boizard et al. 2025, https://arxiv.org/abs/2503.05500)."""

import dataclasses
from typing import TYPE_CHECKING, Any

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.design import Design
from components.modeling.architectures.later_configuration import LaterConfiguration, with_rope_parameters
from components.modeling.architectures.llama_design import LLAMA_DEFAULTS, LLAMA_NAMES, THETA, llama_design

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(LLAMA_NAMES, head_bias="lm_head.bias", head_output="lm_head")
DEFAULTS = {
    **LLAMA_DEFAULTS,
    "vocab_size": 128_256,
    "hidden_size": 768,
    "intermediate_size": 3_072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 8_192,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 128_001,
    "bos_token_id": 128_000,
    "eos_token_id": 128_001,
    "mask_token_id": 128_002,
}


def read(written: dict[str, Any]) -> dict[str, Any]:
    """The authors' own code writes `rope_theta`."""
    return with_rope_parameters(written, THETA)


def design(config: "PretrainedConfig") -> Design:
    """What a EuroBERT is, by its configuration."""
    return llama_design(
        config,
        names=NAMES,
        key_value_heads=config.num_key_value_heads or 0,
        norm_epsilon=config.rms_norm_eps,
        norm_kind="root_mean_square",
        norm_bias=False,
        head_transform=False,
        head_bias=config.mlp_bias,
    )


EUROBERT = Architecture(
    "eurobert",
    tiny={
        **TINY,
        "num_key_value_heads": 2,
        "pad_token_id": 1,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "mask_token_id": 4,
    },
    variants={
        "eurobert with biases": {
            "attention_bias": True,
            "mlp_bias": True,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 250_000.0},
        },
        "eurobert tied": {"tie_word_embeddings": True, "num_key_value_heads": None, "rms_norm_eps": 1e-3},
        "eurobert of scaled positions": {
            "hidden_act": "gelu",
            "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0},
        },
    },
    later_configuration=LaterConfiguration(DEFAULTS, read),
    design=design,
    pytorch_class="EuroBertForMaskedLM",
)
