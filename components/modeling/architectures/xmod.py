"""X-MOD: XLM-RoBERTa with adapters for each language (Pfeiffer et al. 2022, https://arxiv.org/abs/2205.06266)."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture
from components.modeling.architectures.bert_design import roberta_design
from components.modeling.architectures.design import Adapters, Design
from components.modeling.architectures.names import ROBERTA_NAMES
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(ROBERTA_NAMES, adapters="output.adapter_modules", adapters_norm="output.adapter_layer_norm")


def design(config: "PretrainedConfig") -> Design:
    """What an X-MOD is, by its configuration."""
    names = dataclasses.replace(NAMES, final_norm="encoder.LayerNorm") if config.pre_norm else NAMES
    return roberta_design(config, names, norm_first=config.pre_norm, adapters=adapters(config))


def adapters(config: "PretrainedConfig") -> Adapters:
    """A layer's adapters.

    Raises:
        ModelError: If no language is chosen, or one that there are none of.
    """
    languages = tuple(map(str, config.languages))
    if config.default_language not in languages:
        chosen = config.default_language
        raise ModelError(
            "the language of an xmod must be one that it has adapters for",
            received=f"{chosen!r}" if chosen else "none: its config.json names no default_language",
            remedy=f"set --train.language, or default_language in its config.json, to one of {', '.join(languages)}",
        )
    shared: Literal["shared", "none"] = "shared" if config.adapter_reuse_layer_norm else "none"
    return Adapters(
        languages=languages,
        language=config.default_language,
        size=int(config.hidden_size // config.adapter_reduction_factor),
        norm="own" if config.adapter_layer_norm else shared,
        skip_norm=not config.ln_before_adapter,
    )


LANGUAGES = {"languages": ["en_XX", "de_DE"], "default_language": "de_DE"}
XMOD = Architecture(
    "xmod",
    tiny={**TINY, **LANGUAGES},
    variants={
        "xmod with norms first": {"pre_norm": True, "adapter_layer_norm": True, "ln_before_adapter": False},
        "xmod without norms of adapters": {
            **UNTIED,
            "adapter_reuse_layer_norm": False,
            "adapter_reduction_factor": 4,
            "default_language": "en_XX",
        },
        "xmod with norms first, shared": {"pre_norm": True, "layer_norm_eps": 1e-3, "hidden_act": "relu"},
        "xmod around its norm": {"ln_before_adapter": False, "pad_token_id": 3},
    },
    language_option="default_language",
    design=design,
    pytorch_class="XmodForMaskedLM",
)
