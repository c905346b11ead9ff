"""XLM: of several languages (Lample and Conneau 2019, https://arxiv.org/abs/1901.07291)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def beyond_float16(config: "PretrainedConfig") -> str | None:
    """Its code writes -1e30, which float16 can't hold."""
    return f"{config.model_type}, whose attention mask has a number beyond float16"


XLM = Architecture(
    "xlm",
    tiny={"vocab_size": 99, "emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64},
    variants={"xlm with languages": {"n_langs": 3, "use_lang_emb": True}},
    mask_inside=("attentions", "mask"),
    why_not_in={"mixed_float16": beyond_float16},
    layer_name=r"\.(?:attentions|layer_norm1|ffns|layer_norm2)\.(\d+)\.",
    input_embeddings="transformer.embeddings.weight",
    output_layer="pred_layer.proj",
)
