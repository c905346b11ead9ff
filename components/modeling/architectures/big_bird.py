"""BigBird: attention to blocks of long texts, here to all tokens (Zaheer et al. 2020, https://arxiv.org/abs/2007.14062)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.bert_design import bert_design
from components.modeling.architectures.design import Design, require_values

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def design(config: "PretrainedConfig") -> Design:
    """BERT's: PyTorch's class attends to all tokens, too, where there are few, or `attention_type` says so."""
    require_values(config, attention_type=("block_sparse", "original_full"), rescale_embeddings=(False,))
    few = (5 + 2 * config.num_random_blocks) * config.block_size
    return bert_design(
        config,
        attention_bias=config.use_bias,
        longest=few if config.attention_type == "block_sparse" else 0,
    )


BIG_BIRD = Architecture(
    "big_bird",
    tiny={**TINY, "attention_type": "original_full"},
    variants={"big_bird of blocks": {"attention_type": "block_sparse", "block_size": 4, "use_bias": False}},
    design=design,
    pytorch_class="BigBirdForMaskedLM",
    unused_weights=("cls.seq_relationship.",),
    kept_weights=r"^bert\.pooler\.",
)
