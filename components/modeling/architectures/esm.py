"""ESM: of proteins, whose tokens are amino acids (Lin et al. 2022, https://doi.org/10.1101/2022.07.20.500902)."""

from typing import TYPE_CHECKING, Any

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def after_padding(config: "PretrainedConfig") -> int:
    """Positions begin after the padding token's id; a new model has that from its tokenizer, later."""
    return int(config.pad_token_id or 0) + 1


def has_table(config: "PretrainedConfig") -> bool:
    """Whether positions are a table's rows; rotations are computed for any length."""
    return bool(config.position_embedding_type != "rotary")


def why_not_packable(config: "PretrainedConfig") -> str | None:
    """What reads across documents."""
    return "its token_dropout scales a block by all of its masks" if config.token_dropout else None


def why_not_mixed(config: "PretrainedConfig") -> str | None:
    """What computes in float32 only."""
    reason = "esm with tied embeddings, whose head multiplies by float32 weights"
    return reason if config.tie_word_embeddings else None


def decoder(model: Any) -> Any:
    """The output matrix: Keras builds the tied embedding twice, so that training takes its two copies apart."""
    return getattr(model.lm_head, "decoder", None)


ESM = Architecture(
    "esm",
    tiny={**TINY, "pad_token_id": 1, "mask_token_id": 32},
    variants={
        "esm rotary": {"position_embedding_type": "rotary", "emb_layer_norm_before": True},
        "esm untied": UNTIED,
    },
    first_position=after_padding,
    has_position_limit=has_table,
    why_not_packable=why_not_packable,
    why_not_in=dict.fromkeys(("mixed_bfloat16", "mixed_float16"), why_not_mixed),
    optional_weights=("esm.contact_head.",),
    after_layers=("esm.encoder.emb_layer_norm_after.",),
    output_layer="lm_head.decoder",
    own_output_matrix=decoder,
)
