"""TAPAS: of tables, here of plain text (Herzig et al. 2020, https://arxiv.org/abs/2004.02349)."""

from components.modeling.architectures.architecture import TINY, Architecture

TAPAS = Architecture("tapas", tiny=TINY)
