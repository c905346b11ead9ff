"""RoBERTa with layer norms before the layers (Ott et al. 2019, https://arxiv.org/abs/1904.01038)."""

import dataclasses

from components.modeling.architectures.roberta import ROBERTA

ROBERTA_PRELAYERNORM = dataclasses.replace(
    ROBERTA, model_type="roberta-prelayernorm", after_layers=("roberta_prelayernorm.LayerNorm.",)
)
