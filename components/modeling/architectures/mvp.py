"""MVP: BART, trained on many tasks of writing (Tang et al. 2022, https://arxiv.org/abs/2206.12131)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures import bart
from components.modeling.architectures.design import Design, require_values

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def design(config: "PretrainedConfig") -> Design:
    """BART's. Prompts, which stand before keys and values of a task's own model, there are none of."""
    require_values(config, use_prompt=(False,))
    return bart.design(config)


MVP = dataclasses.replace(
    bart.BART,
    model_type="mvp",
    variants={"mvp of other sizes": bart.BART.variants["bart of other sizes"]},
    design=design,
    pytorch_class="MvpForConditionalGeneration",
)
