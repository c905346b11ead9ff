"""Every architecture that this project knows, by transformers' name of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.modeling.architectures.albert import ALBERT
from components.modeling.architectures.architecture import Architecture
from components.modeling.architectures.bert import BERT
from components.modeling.architectures.camembert import CAMEMBERT
from components.modeling.architectures.convbert import CONVBERT
from components.modeling.architectures.deberta import DEBERTA
from components.modeling.architectures.deberta_v2 import DEBERTA_V2
from components.modeling.architectures.distilbert import DISTILBERT
from components.modeling.architectures.electra import ELECTRA
from components.modeling.architectures.esm import ESM
from components.modeling.architectures.flaubert import FLAUBERT
from components.modeling.architectures.funnel import FUNNEL
from components.modeling.architectures.layoutlm import LAYOUTLM
from components.modeling.architectures.longformer import LONGFORMER
from components.modeling.architectures.mobilebert import MOBILEBERT
from components.modeling.architectures.mpnet import MPNET
from components.modeling.architectures.rembert import REMBERT
from components.modeling.architectures.roberta import ROBERTA
from components.modeling.architectures.roberta_prelayernorm import ROBERTA_PRELAYERNORM
from components.modeling.architectures.roformer import ROFORMER
from components.modeling.architectures.tapas import TAPAS
from components.modeling.architectures.xlm import XLM
from components.modeling.architectures.xlm_roberta import XLM_ROBERTA

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ARCHITECTURES: Mapping[str, Architecture] = {
    record.model_type: record
    for record in (
        *(ALBERT, BERT, CAMEMBERT, CONVBERT, DEBERTA, DEBERTA_V2, DISTILBERT, ELECTRA, ESM, FLAUBERT, FUNNEL, LAYOUTLM),
        *(LONGFORMER, MOBILEBERT, MPNET, REMBERT, ROBERTA, ROBERTA_PRELAYERNORM, ROFORMER, TAPAS, XLM, XLM_ROBERTA),
    )
}
"""Those that have a masked-LM class for TensorFlow in transformers."""


def architecture_of(config: "PretrainedConfig") -> Architecture:
    """The record of a model's architecture, by its configuration."""
    return ARCHITECTURES[config.model_type]
