"""RoFormer: positions are rotations (Su et al. 2021, https://arxiv.org/abs/2104.09864)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def why_not_packable(config: "PretrainedConfig") -> str | None:
    """Turned queries and keys know distances only; turned values know places."""
    return "its rotary_value depends on the place in the block" if config.rotary_value else None


ROFORMER = Architecture(
    "roformer",
    tiny={**TINY, "embedding_size": 16},
    variants={"roformer rotary value": {"embedding_size": 32, "rotary_value": True, **UNTIED}},
    why_not_packable=why_not_packable,
)
