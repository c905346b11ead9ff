"""Which architectures keep packed documents apart, and why the others can't. Needs no TensorFlow.

None of TensorFlow's masked-LM classes takes a mask of three dimensions as it is; the room `components.modeling.library`
gives it to the layer inside that does. What is said here of each architecture is what its test finds: a change in one
document changes nothing in another.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from foundation.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ROBERTA = ("camembert", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta")
"""Position ids begin after the padding token's id, which TensorFlow's classes fix at 1."""

MASK_INSIDE = {
    **dict.fromkeys(
        (
            *("albert", "bert", "camembert", "deberta", "deberta-v2", "electra", "esm", "layoutlm", "mobilebert"),
            *("mpnet", "rembert", "roberta", "roberta-prelayernorm", "roformer", "tapas", "xlm-roberta"),
        ),
        ("encoder", "attention_mask"),
    ),
    **dict.fromkeys(("flaubert", "xlm"), ("attentions", "mask")),
}
"""By architecture, the part of its main layer (one layer, or a list of them) that takes a mask of three dimensions,
and the argument's name."""

MIXED: dict[str, tuple[Callable[["PretrainedConfig"], bool], str]] = {
    "convbert": (lambda config: True, "its convolutions read across documents"),
    "deberta-v2": (
        lambda config: getattr(config, "conv_kernel_size", 0) > 0,
        "its convolution (conv_kernel_size) reads across documents",
    ),
    "distilbert": (lambda config: True, "its attention takes one mask a block, not one a token"),
    "esm": (lambda config: config.token_dropout, "its token_dropout scales a block by all of its masks"),
    "funnel": (lambda config: True, "it pools neighbouring tokens into one, of two documents too"),
    "longformer": (lambda config: True, "its windowed attention takes one mask a block, not one a token"),
    "mobilebert": (lambda config: config.trigram_input, "its embeddings (trigram_input) read the neighbours' too"),
    "roformer": (lambda config: config.rotary_value, "its rotary_value depends on the place in the block"),
}
"""By architecture, whether a configuration mixes documents, and how."""


def require_packable(config: "PretrainedConfig") -> None:
    """Refuses a model whose attention can't be kept within documents.

    Raises:
        ConfigError: With the reason, naming both settings.
    """
    model_type = config.model_type
    mixes, reason = MIXED.get(model_type, (lambda config: model_type not in MASK_INSIDE, "it is not known how"))
    if mixes(config):
        raise ConfigError(
            "preprocess.packing packed needs an architecture whose documents can be kept apart",
            received=f"{model_type} (train.pretrained or train.model_type): {reason}",
            remedy="set --preprocess.packing documents or concatenate, or train another architecture, such as roberta",
        )


def first_position(config: "PretrainedConfig") -> int:
    """The position id of a document's first token; one less stands for padding where it is above 0."""
    if config.model_type == "esm":
        return int(config.pad_token_id) + 1
    return 2 if config.model_type in ROBERTA else 0
