"""ALBERT: the layers share their weights (Lan et al. 2019, https://arxiv.org/abs/1909.11942)."""

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture

ALBERT = Architecture(
    "albert",
    tiny={**TINY, "embedding_size": 16},
    variants={
        "albert in groups": {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2, **UNTIED},
    },
    why_not_frozen=lambda config: "its layers share their weights",
    layer_name=r"\.albert_layer_groups\.(\d+)\.albert_layers\.(\d+)\.",
    output_layer="predictions.decoder",
    # TensorFlow adds the decoder's bias alone; PyTorch's two are one, and either may win.
    pytorch_copies={"predictions.bias": "predictions.decoder.bias"},
)
