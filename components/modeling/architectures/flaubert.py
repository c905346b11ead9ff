"""FlauBERT: XLM for French (Le et al. 2019, https://arxiv.org/abs/1912.05372)."""

import dataclasses

from components.modeling.architectures.xlm import XLM

FLAUBERT = dataclasses.replace(XLM, model_type="flaubert", variants={})
