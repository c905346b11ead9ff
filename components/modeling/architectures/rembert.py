"""RemBERT: an output matrix of its own, wider than the embedding (Chung et al. 2020, https://arxiv.org/abs/2010.12821)."""

from components.modeling.architectures.architecture import TINY, Architecture

REMBERT = Architecture(
    "rembert",
    tiny={**TINY, "input_embedding_size": 16, "output_embedding_size": 24},
    variants={"rembert square": {"output_embedding_size": 16}},
)
