"""MobileBERT: narrow layers between bottlenecks (Sun et al. 2020, https://arxiv.org/abs/2004.02984)."""

from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def why_not_packable(config: "PretrainedConfig") -> str | None:
    """What reads across documents."""
    return "its embeddings (trigram_input) read the neighbors' too" if config.trigram_input else None


MOBILEBERT = Architecture(
    "mobilebert",
    tiny={**TINY, "embedding_size": 32, "intra_bottleneck_size": 16},
    variants={
        "mobilebert bottleneck": {"hidden_size": 48, "embedding_size": 16, "use_bottleneck_attention": True},
        "mobilebert without trigrams": {"trigram_input": False},
    },
    heads_divide_hidden_size=False,  # they divide intra_bottleneck_size
    why_not_packable=why_not_packable,
    sees_padding=lambda config: bool(config.trigram_input),  # the last token's embedding reads the next one's
    # Version 5 of transformers ties the two biases only where it ties the weights; version 4 always.
    pytorch_copies_where_untied={"cls.predictions.decoder.bias": "cls.predictions.bias"},
)
