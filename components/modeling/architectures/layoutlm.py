"""LayoutLM: of scanned pages, here of their text alone (Xu et al. 2019, https://arxiv.org/abs/1912.13318)."""

from components.modeling.architectures.architecture import TINY, Architecture

LAYOUTLM = Architecture("layoutlm", tiny=TINY)
