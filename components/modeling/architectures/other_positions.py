"""Kinds of positions that a configuration may ask for by an option that its architecture doesn't have.

transformers keeps such an option and does nothing with it; the model would be another one than its file says.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.modeling.architectures.design import require_values

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NOTHING: Mapping[str, tuple[Any, ...]] = {
    # Nothing reads it in a ModernBERT, whose positions are rotary: its own checkpoints have the first, those of mmBERT
    # and Ettin the second.
    "position_embedding_type": ("absolute", "sans_pos", None),
    "position_encoding_type": ("absolute", None),
    "alibi": (False, None),
    "use_alibi": (False, None),
    "relative_attention": (False, None),
    "rope_scaling": (None,),
    "sliding_window": (None, 0),
    "use_sliding_window": (False, None),
}
"""Names that such options have in any architecture, each with the values that ask for nothing."""
NOT_ROTARY: Mapping[str, tuple[Any, ...]] = {"rope_parameters": (None,)}
"""The same of those that mean something wherever positions are rotary."""
ROTARY = ("rope", "rotary")
"""What rotary positions are called."""


def require_no_other_positions(config: "PretrainedConfig", *, is_rotary: bool) -> None:
    """Refuses a configuration with positions of a kind that its architecture has no option for.

    Args:
        config: The configuration.
        is_rotary: Whether the architecture's positions are rotary.

    Raises:
        ModelError: Naming the option, its value and those that mean nothing.
    """
    own = type(config)().to_dict()
    options = NOTHING if is_rotary else {**NOTHING, **NOT_ROTARY}
    others = {name: values for name, values in options.items() if name not in own and hasattr(config, name)}
    for name in others:
        others[name] += ROTARY if is_rotary and name.endswith("_type") else ()
    require_values(config, **others)
