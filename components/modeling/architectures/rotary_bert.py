"""What GTE, NomicBERT and Jina embeddings v3 have in common: BERT's layers, with rotary positions."""

from typing import TYPE_CHECKING, Any

from components.modeling.architectures.bert_design import bert_design
from components.modeling.architectures.design import Design, require_values, rotation
from components.modeling.architectures.names import Names

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def rotary_bert_design(config: "PretrainedConfig", names: Names, theta: float, **values: Any) -> Design:
    """The design of a BERT with rotary positions and one matrix for queries, keys and values.

    Args:
        config: Its configuration, as transformers 5 has it.
        names: PyTorch's names.
        theta: The base of the wavelengths where the configuration has none.
        values: What differs.
    """
    size = config.hidden_size // config.num_attention_heads
    require_values(config, head_dim=(None, size))
    rotary = {
        "fused_query_key_value": True,
        "positions": "rotary",
        "rotations": (rotation(config, config.rope_parameters, theta=theta, size=size),) * config.num_hidden_layers,
        "head_activation": "gelu",
    }
    return bert_design(config, names, **{**rotary, **values})


ROTARY_BERT_DEFAULTS = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3_072,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "bos_token_id": None,
    "eos_token_id": None,
    "tie_word_embeddings": True,
    "rope_parameters": None,
}
"""What their configurations have in common in transformers 5."""
