"""What the relatives of BART have in common, encoders with a decoder."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from components.modeling.architectures.design import Design, require_values
from components.modeling.architectures.names import Names
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

OFFSET = 2
"""The first rows of PyTorch's tables of positions, which no token has."""
NAMES = Names(
    model="model",
    words="shared",
    positions="encoder.embed_positions",
    embedding_norm="encoder.layernorm_embedding",
    layer="encoder.layers.{}",
    attention_norm="self_attn_layer_norm",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    attention_output="self_attn.out_proj",
    inner_norm="final_layer_norm",
    inner="fc1",
    inner_output="fc2",
    fixed_head_bias="final_logits_bias",
    head_output="lm_head",
)
DECODER_NAMES = dataclasses.replace(
    NAMES,
    model="model.decoder",
    positions="embed_positions",
    embedding_norm="layernorm_embedding",
    layer="layers.{}",
    cross_norm="encoder_attn_layer_norm",
    cross_query="encoder_attn.q_proj",
    cross_key="encoder_attn.k_proj",
    cross_value="encoder_attn.v_proj",
    cross_output="encoder_attn.out_proj",
)
WORDS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
"""PyTorch's other names of the embedding of tokens."""
OTHER_WORDS = {f"{prefix}{name}": "model.shared.weight" for prefix in ("model.", "") for name in WORDS}


def bart_design(config: "PretrainedConfig", *, norm_first: bool, start_token_id: int | None) -> Design:
    """The design of a BART.

    Args:
        config: Its configuration, with BART's keys.
        norm_first: Whether norms stand before what they are for, and one more after the last layer.
        start_token_id: As of a `Design`.

    Raises:
        ModelError: If the configuration has an option that there is none of here.
    """
    require_values(
        config,
        tie_word_embeddings=(True,),
        is_encoder_decoder=(True,),
        encoder_layerdrop=(0.0,),
        decoder_layerdrop=(0.0,),
        # Of fairseq, whose checkpoints these are; PyTorch's classes compute with these values whatever is written.
        normalize_before=(norm_first,),
        normalize_embedding=(True,),
        static_position_embeddings=(False,),
    )
    both = {
        "vocabulary": config.vocab_size,
        "hidden": config.d_model,
        "activation": config.activation_function,
        "norm_epsilon": 1e-5,
        "norm_first": norm_first,
        "position_count": config.max_position_embeddings + OFFSET,
        "position_offset": OFFSET,
        "embedding_scale": math.sqrt(config.d_model) if config.scale_embedding else 1.0,
        "embedding_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "attention_output_dropout": config.dropout,
        "inner_dropout": config.activation_dropout,
        "inner_output_dropout": config.dropout,
        "initializer_range": config.init_std,
        "output_initializer_range": config.init_std,
        "pad_token_id": config.pad_token_id,
    }
    decoder = Design(
        names=dataclasses.replace(DECODER_NAMES, final_norm="layer_norm" if norm_first else ""),
        layers=config.decoder_layers,
        heads=config.decoder_attention_heads,
        inner=config.decoder_ffn_dim,
        start_token_id=start_token_id,
        **both,
    )
    return Design(
        names=dataclasses.replace(NAMES, final_norm="encoder.layer_norm" if norm_first else ""),
        layers=config.encoder_layers,
        heads=config.encoder_attention_heads,
        inner=config.encoder_ffn_dim,
        head_transform=False,
        head_bias=False,
        decoder=decoder,
        **both,
    )


def start_token(config: "PretrainedConfig") -> int:
    """What the decoder is given before a text's first token.

    Raises:
        ModelError: If the configuration has none.
    """
    start = config.decoder_start_token_id
    if start is None or not 0 <= start < config.vocab_size:
        raise ModelError(
            f"config.json of a {config.model_type} must have a decoder_start_token_id within the vocabulary",
            received=repr(start),
            remedy='write it there, such as "decoder_start_token_id": 2, which is </s> of BART',
        )
    return int(start)


TINY_BART: dict[str, Any] = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 36,
    "decoder_ffn_dim": 36,
    "max_position_embeddings": 64,
}
"""Sizes of a model to test with."""
OTHER_SIZES: dict[str, Any] = {
    "encoder_layers": 1,
    "decoder_layers": 3,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 44,
    "scale_embedding": True,
    "activation_function": "relu",
}
"""A decoder of other sizes than the encoder, and other options."""
