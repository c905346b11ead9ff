"""ModernBERT: rotary positions, windows, gates (Warner et al. 2024, https://arxiv.org/abs/2412.13663); mmBERT too."""

import math
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture
from components.modeling.architectures.design import Design, Rotation, rotation
from components.modeling.architectures.names import Names
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

FULL, SLIDING = "full_attention", "sliding_attention"
NAMES = Names(
    model="model",
    words="embeddings.tok_embeddings",
    embedding_norm="embeddings.norm",
    layer="layers.{}",
    attention_norm="attn_norm",
    query="attn.Wqkv",
    attention_output="attn.Wo",
    inner_norm="mlp_norm",
    inner="mlp.Wi",
    inner_output="mlp.Wo",
    final_norm="final_norm",
    head="head.dense",
    head_norm="head.norm",
    head_bias="decoder.bias",
    head_output="decoder",
)


def design(config: "PretrainedConfig") -> Design:
    """What a ModernBERT is, by its configuration as transformers 4 or 5 writes it."""
    kinds = kinds_of_layers(config)
    rotations = {kind: rotation_of(config, kind) for kind in (FULL, SLIDING)}
    return Design(
        names=NAMES,
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        inner=config.intermediate_size,
        activation=config.hidden_activation,
        norm_epsilon=config.norm_eps,
        norm_bias=config.norm_bias,
        norm_first=True,
        first_attention_norm=False,
        attention_bias=config.attention_bias,
        attention_output_bias=config.attention_bias,
        inner_bias=config.mlp_bias,
        inner_output_bias=config.mlp_bias,
        fused_query_key_value=True,
        gate="second",
        positions="rotary",
        rotations=tuple(rotations[kind] for kind in kinds),
        windows=tuple(0 if kind == FULL else config.local_attention // 2 for kind in kinds),
        head_transform_bias=config.classifier_bias,
        head_activation=config.classifier_activation,
        head_bias=config.decoder_bias,
        tied=config.tie_word_embeddings,
        embedding_dropout=config.embedding_dropout,
        attention_dropout=config.attention_dropout,
        attention_output_dropout=config.attention_dropout,
        inner_dropout=config.mlp_dropout,
        initializer_range=config.initializer_range,
        output_initializer_range=config.initializer_range / math.sqrt(2 * config.num_hidden_layers),
        pad_token_id=config.pad_token_id,
    )


def kinds_of_layers(config: "PretrainedConfig") -> list[str]:
    """Which layers see all tokens and which a window: transformers 5 lists them, 4 has a rule.

    Raises:
        ModelError: If the list has other kinds, or another length than there are layers.
    """
    written = getattr(config, "layer_types", None)
    if written is None:
        every = config.global_attn_every_n_layers
        return [SLIDING if layer % every else FULL for layer in range(config.num_hidden_layers)]
    if len(written) != config.num_hidden_layers or not {FULL, SLIDING}.issuperset(written):
        raise ModelError(
            f"layer_types of a modernbert must be {FULL} or {SLIDING} for each of its layers",
            received=f"{', '.join(map(str, written))} for {config.num_hidden_layers} layers",
            remedy="use the config.json that belongs to the weights",
        )
    return list(written)


def rotation_of(config: "PretrainedConfig", kind: str) -> Rotation:
    """The rotation of layers of a kind: transformers 5 writes `rope_parameters` by kind, 4 a theta of each."""
    theta = config.global_rope_theta
    if kind == SLIDING and config.local_rope_theta is not None:
        theta = config.local_rope_theta
    written = (getattr(config, "rope_parameters", None) or {}).get(kind)
    return rotation(config, written, theta=theta, size=config.hidden_size // config.num_attention_heads)


MODERNBERT = Architecture(
    "modernbert",
    tiny={
        **TINY,
        "num_hidden_layers": 4,
        "local_attention": 8,
        "pad_token_id": 1,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "cls_token_id": 2,
        "sep_token_id": 3,
    },
    variants={
        "modernbert with biases": {
            "norm_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
            "classifier_bias": True,
            "classifier_activation": "silu",
            "local_rope_theta": 500.0,
        },
        "modernbert untied": {**UNTIED, "decoder_bias": False, "global_attn_every_n_layers": 2},
    },
    design=design,
    pytorch_class="ModernBertForMaskedLM",
)
