"""ESM C: of proteins, with norms of queries and keys (ESM Team 2024, "ESM Cambrian").

https://www.evolutionaryscale.ai/blog/esm-cambrian
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.design import Design, require_values
from components.modeling.architectures.later_configuration import LaterConfiguration, with_rope_parameters
from components.modeling.architectures.llama_design import LLAMA_DEFAULTS, LLAMA_NAMES, THETA, llama_design

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(
    LLAMA_NAMES,
    model="esmc",
    query_norm="self_attn.q_norm",
    key_norm="self_attn.k_norm",
    head="lm_head.dense",
    head_norm="lm_head.layer_norm",
    head_bias="lm_head.decoder.bias",
    head_output="lm_head.decoder",
)
DEFAULTS = {
    **LLAMA_DEFAULTS,
    "vocab_size": 64,
    "hidden_size": 2_560,
    "intermediate_size": 6_912,
    "num_hidden_layers": 80,
    "num_attention_heads": 40,
    "max_position_embeddings": 2_048,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "mask_token_id": 32,
    "classifier_dropout": 0.1,
}
LAYERS_AT_FULL_SCALE = 36
"""The layers of a model that adds what they give as it is; a deeper one adds less of it."""


def read(written: dict[str, Any]) -> dict[str, Any]:
    """What transformers 5 writes."""
    return with_rope_parameters(written, THETA)


def design(config: "PretrainedConfig") -> Design:
    """What an ESM C is, by its configuration."""
    # PyTorch's class has an output matrix of its own, whatever `tie_word_embeddings` says.
    heads = config.num_attention_heads
    require_values(config, num_key_value_heads=(None, heads), tie_word_embeddings=(False,))
    return llama_design(
        config,
        names=NAMES,
        norm_epsilon=1e-5,
        final_norm_bias=False,
        query_key_norm=True,
        residual_scale=math.sqrt(LAYERS_AT_FULL_SCALE / config.num_hidden_layers),
    )


ESMC = Architecture(
    "esmc",
    tiny={**TINY, "pad_token_id": 1, "mask_token_id": 32},
    variants={
        "esmc with biases": {
            "attention_bias": True,
            "mlp_bias": True,
            "hidden_act": "gelu",
            "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0},
        },
    },
    later_configuration=LaterConfiguration(DEFAULTS, read),
    design=design,
    pytorch_class="EsmcForMaskedLM",
)
