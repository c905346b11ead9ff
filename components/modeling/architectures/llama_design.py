"""What EuroBERT and ESM C have in common: LLaMA's layers, in both directions."""

from typing import TYPE_CHECKING, Any

from components.modeling.architectures.design import Design, require_values, rotation
from components.modeling.architectures.names import Names

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LLAMA_NAMES = Names(
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
)
LLAMA_DEFAULTS = {
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
    "rope_parameters": None,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
}
"""What their configurations have in common in transformers 5."""
THETA = 10_000.0
"""The base of the wavelengths where a configuration has none."""


def llama_design(config: "PretrainedConfig", **values: Any) -> Design:
    """The design of an encoder with LLaMA's layers.

    Args:
        config: Its configuration, as transformers 5 has it.
        values: What differs.

    Raises:
        ModelError: If the configuration has an option that there is none of here.
    """
    size = config.hidden_size // config.num_attention_heads
    require_values(config, head_dim=(None, size))
    common = {
        "vocabulary": config.vocab_size,
        "hidden": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "inner": config.intermediate_size,
        "activation": config.hidden_act,
        "norm_first": True,
        "embedding_norm": False,
        "attention_bias": config.attention_bias,
        "attention_output_bias": config.attention_bias,
        "inner_bias": config.mlp_bias,
        "inner_output_bias": config.mlp_bias,
        "gate": "own",
        "positions": "rotary",
        "rotations": (rotation(config, config.rope_parameters, theta=THETA, size=size),) * config.num_hidden_layers,
        "tied": config.tie_word_embeddings,
        "attention_dropout": config.attention_dropout,
        "initializer_range": config.initializer_range,
        "output_initializer_range": config.initializer_range,
        "pad_token_id": config.pad_token_id,
    }
    return Design(**{**common, **values})
