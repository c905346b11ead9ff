"""How long a text a model takes."""

from typing import TYPE_CHECKING

from components.modeling.architecture import largest_block_size

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# Attention takes memory with the square of the length, so a server needs some limit.
LENGTH_WITHOUT_LIMIT = 1024


def max_sequence_length(config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase") -> int:
    """The most tokens of a text, special tokens included: what the model and its tokenizer both take.

    Where neither sets a limit it is 1,024. (transformers' stand-in for no limit is 1e30.)
    """
    limits = [largest_block_size(config), tokenizer.model_max_length]
    stated = [int(limit) for limit in limits if limit is not None and limit < 1e9]
    return min(stated, default=LENGTH_WITHOUT_LIMIT)
