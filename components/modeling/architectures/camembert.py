"""CamemBERT: RoBERTa for French (Martin et al. 2019, https://arxiv.org/abs/1911.03894)."""

import dataclasses

from components.modeling.architectures.roberta import ROBERTA

CAMEMBERT = dataclasses.replace(ROBERTA, model_type="camembert")
