"""DeBERTa: attention by content and by relative position (He et al. 2020, https://arxiv.org/abs/2006.03654)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import RELATIVE_ATTENTION, TINY, Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def adds_positions(config: "PretrainedConfig") -> bool:
    """Whether positions are added to the embeddings, so that their table limits the length."""
    return config.position_biased_input is not False


def branches(config: "PretrainedConfig") -> str | None:
    """XLA compiles no graph that goes another way for other inputs."""
    return "deberta with relative attention, which branches on its inputs" if config.relative_attention else None


DEBERTA = Architecture(
    "deberta",
    tiny=TINY,
    variants={"deberta relative": {**RELATIVE_ATTENTION, "max_relative_positions": 16}},
    has_position_limit=adds_positions,
    why_not_compiled=branches,
)
