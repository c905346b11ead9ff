"""DistilBERT: half of BERT's layers (Sanh et al. 2019, https://arxiv.org/abs/1910.01108)."""

from components.modeling.architectures.architecture import UNTIED, Architecture

DISTILBERT = Architecture(
    "distilbert",
    tiny={
        "vocab_size": 99,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 36,
        "max_position_embeddings": 64,
    },
    variants={"distilbert sinusoidal": {"sinusoidal_pos_embds": True, **UNTIED}},
    mask_inside=None,
    why_not_packable=lambda config: "its attention takes one mask a block, not one a token",
    output_layer="vocab_projector",
)
