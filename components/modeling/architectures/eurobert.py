"""EuroBERT: LLaMA's layers in both directions (Boizard et al. 2025, https://arxiv.org/abs/2503.05500)."""

from typing import TYPE_CHECKING, Any

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.design import Design, require_values, rotation
from components.modeling.architectures.later_configuration import LaterConfiguration, with_rope_parameters
from components.modeling.architectures.names import Names

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = Names(
    model="model",
    words="embed_tokens",
    layer="layers.{}",
    attention_norm="input_layernorm",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    attention_output="self_attn.o_proj",
    inner_norm="post_attention_layernorm",
    inner="mlp.gate_proj",
    gate="mlp.up_proj",
    inner_output="mlp.down_proj",
    final_norm="norm",
    head_bias="lm_head.bias",
    head_output="lm_head",
)
DEFAULTS = {
    "vocab_size": 128_256,
    "hidden_size": 768,
    "intermediate_size": 3_072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "max_position_embeddings": 8_192,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 128_001,
    "bos_token_id": 128_000,
    "eos_token_id": 128_001,
    "mask_token_id": 128_002,
    "tie_word_embeddings": False,
    "rope_parameters": None,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
}
THETA = 10_000.0


def read(written: dict[str, Any]) -> dict[str, Any]:
    """The authors' own code writes `rope_theta`."""
    return with_rope_parameters(written, THETA)


def design(config: "PretrainedConfig") -> Design:
    """What a EuroBERT is, by its configuration."""
    size = config.hidden_size // config.num_attention_heads
    require_values(config, head_dim=(None, size))
    return Design(
        names=NAMES,
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or 0,
        inner=config.intermediate_size,
        activation=config.hidden_act,
        norm_epsilon=config.rms_norm_eps,
        norm_kind="root_mean_square",
        norm_bias=False,
        norm_first=True,
        embedding_norm=False,
        attention_bias=config.attention_bias,
        attention_output_bias=config.attention_bias,
        inner_bias=config.mlp_bias,
        inner_output_bias=config.mlp_bias,
        gate="own",
        positions="rotary",
        rotations=(rotation(config, config.rope_parameters, theta=THETA, size=size),) * config.num_hidden_layers,
        head_transform=False,
        head_bias=config.mlp_bias,
        tied=config.tie_word_embeddings,
        attention_dropout=config.attention_dropout,
        initializer_range=config.initializer_range,
        output_initializer_range=config.initializer_range,
        pad_token_id=config.pad_token_id,
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
