"""ELECTRA's generator, the half that is a masked language model (Clark et al. 2020, https://arxiv.org/abs/2003.10555)."""

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture

ELECTRA = Architecture(
    "electra",
    tiny={**TINY, "embedding_size": 16},
    variants={"electra untied": {"embedding_size": 32, **UNTIED}},
    output_layer="generator_lm_head",
)
