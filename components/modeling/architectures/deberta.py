"""DeBERTa: attention by content and by relative position (He et al. 2020, https://arxiv.org/abs/2006.03654)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import RELATIVE_ATTENTION, TINY, Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def adds_positions(config: "PretrainedConfig") -> bool:
    """Whether positions are added to the embeddings, so that their table limits the length."""
    return config.position_biased_input is not False


def is_relative(config: "PretrainedConfig") -> bool:
    """Whether the attention knows relative positions."""
    return bool(config.relative_attention)


def why_not_compiled(config: "PretrainedConfig") -> str | None:
    """XLA compiles no graph that goes another way for other inputs."""
    return "deberta with relative attention, which branches on its inputs" if is_relative(config) else None


OWN_HEAD: Mapping[str, str] = {
    f"lm_predictions.lm_head.{own}": f"cls.predictions.{name}"
    for own, name in {
        "bias": "bias",
        "dense.weight": "transform.dense.weight",
        "dense.bias": "transform.dense.bias",
        "LayerNorm.weight": "transform.LayerNorm.weight",
        "LayerNorm.bias": "transform.LayerNorm.bias",
    }.items()
}
"""What Microsoft's own checkpoints call the head, in which the library's classes name it as BERT's."""


DEBERTA = Architecture(
    "deberta",
    tiny=TINY,
    variants={"deberta relative": {**RELATIVE_ATTENTION, "max_relative_positions": 16}},
    has_position_limit=adds_positions,
    why_not_compiled=why_not_compiled,
    branches_on_tensors=is_relative,
    pytorch_aliases=OWN_HEAD,
)
