"""Perceiver: bytes of text, read by a few latent states (Jaegle et al. 2021, https://arxiv.org/abs/2107.14795)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import Architecture
from components.modeling.architectures.design import require_values
from components.modeling.architectures.names import Names
from components.modeling.architectures.perceiver_design import PerceiverDesign, PerceiverLayerDesign

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = Names(
    model="perceiver",
    words="input_preprocessor.embeddings",
    positions="input_preprocessor.position_embeddings",
    layer="encoder.self_attends.{}",
    attention_norm="attention.self.layernorm1",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    inner_norm="layernorm",
    inner="mlp.dense1",
    inner_output="mlp.dense2",
    head="",
    head_norm="",
    head_bias="embedding_decoder.bias",
    head_output="embedding_decoder",
)
DECODER_KEYS, DECODER_HEADS = 256, 8
"""The width of the decoder's queries and keys, and its heads: PyTorch's class has no option for them."""


def design(config: "PretrainedConfig") -> PerceiverDesign:
    """What a Perceiver of text is, by its configuration."""
    require_values(config, cross_attention_shape_for_attention=("kv", "q"), tie_word_embeddings=(True,))
    width, hidden, keys, values = config.d_model, config.d_latents, config.qk_channels, config.v_channels
    read_keys = keys or (width if config.cross_attention_shape_for_attention == "kv" else hidden)
    return PerceiverDesign(
        names=NAMES,
        vocabulary=config.vocab_size,
        width=width,
        positions=config.max_position_embeddings,
        hidden=hidden,
        latents=config.num_latents,
        layers=config.num_self_attends_per_block,
        blocks=config.num_blocks,
        reading=PerceiverLayerDesign(
            "encoder.cross_attention",
            width=hidden,
            read=width,
            keys=read_keys,
            values=values or read_keys,
            heads=config.num_cross_attention_heads,
            inner=config.cross_attention_widening_factor * hidden,
            adds_queries=config.use_query_residual,
        ),
        refining=PerceiverLayerDesign(
            NAMES.layer,
            width=hidden,
            read=0,
            keys=keys or hidden,
            values=values or keys or hidden,
            heads=config.num_self_attention_heads,
            inner=config.self_attention_widening_factor * hidden,
        ),
        answering=PerceiverLayerDesign(
            "decoder.decoding_cross_attention",
            width=width,
            read=hidden,
            keys=DECODER_KEYS,
            values=width,
            heads=DECODER_HEADS,
            inner=width,
            adds_queries=False,
        ),
        activation=config.hidden_act,
        attention_dropout=config.attention_probs_dropout_prob,
        initializer_range=config.initializer_range,
    )


def why_not_packable(config: "PretrainedConfig") -> str:
    """Latents belong to a block, not to a document of it."""
    return "its latents read the whole block"


def why_not_frozen(config: "PretrainedConfig") -> str | None:
    """Latents go through the same layers in each block."""
    return "its blocks share their layers" if config.num_blocks > 1 else None


PERCEIVER = Architecture(
    "perceiver",
    tiny={
        "vocab_size": 99,
        "d_model": 32,
        "d_latents": 16,
        "num_latents": 6,
        "num_self_attends_per_block": 2,
        "num_self_attention_heads": 4,
        "num_cross_attention_heads": 4,
        "max_position_embeddings": 40,
        "pad_token_id": 0,
    },
    variants={
        "perceiver in blocks": {"num_blocks": 2, "qk_channels": 24, "v_channels": 16, "hidden_act": "relu"},
        "perceiver without residual": {
            "use_query_residual": False,
            "cross_attention_shape_for_attention": "q",
            "self_attention_widening_factor": 2,
            "cross_attention_widening_factor": 3,
        },
    },
    design=design,
    pytorch_class="PerceiverForMaskedLM",
    why_not_packable=why_not_packable,
    why_not_frozen=why_not_frozen,
)
