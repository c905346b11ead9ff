"""BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805)."""

from components.modeling.architectures.architecture import TINY, UNTIED, Architecture

BERT = Architecture("bert", tiny=TINY, variants={"bert untied": UNTIED})
