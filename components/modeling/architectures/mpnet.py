"""MPNet: relative biases beside positions (Song et al. 2020, https://arxiv.org/abs/2004.09297)."""

import dataclasses

from components.modeling.architectures.roberta import ROBERTA

MPNET = dataclasses.replace(ROBERTA, model_type="mpnet", unused_weights=("mpnet.pooler.",))
