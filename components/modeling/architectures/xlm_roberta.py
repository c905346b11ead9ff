"""XLM-RoBERTa: RoBERTa for a hundred languages (Conneau et al. 2019, https://arxiv.org/abs/1911.02116)."""

import dataclasses

from components.modeling.architectures.roberta import ROBERTA

XLM_ROBERTA = dataclasses.replace(ROBERTA, model_type="xlm-roberta")
