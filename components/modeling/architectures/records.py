"""Every architecture that this project knows, by transformers' name of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.modeling.architectures.albert import ALBERT
from components.modeling.architectures.architecture import Architecture
from components.modeling.architectures.bart import BART
from components.modeling.architectures.bert import BERT
from components.modeling.architectures.big_bird import BIG_BIRD
from components.modeling.architectures.camembert import CAMEMBERT
from components.modeling.architectures.convbert import CONVBERT
from components.modeling.architectures.data2vec_text import DATA2VEC_TEXT
from components.modeling.architectures.deberta import DEBERTA
from components.modeling.architectures.deberta_v2 import DEBERTA_V2
from components.modeling.architectures.distilbert import DISTILBERT
from components.modeling.architectures.electra import ELECTRA
from components.modeling.architectures.ernie import ERNIE
from components.modeling.architectures.esm import ESM
from components.modeling.architectures.esmc import ESMC
from components.modeling.architectures.eurobert import EUROBERT
from components.modeling.architectures.flaubert import FLAUBERT
from components.modeling.architectures.fnet import FNET
from components.modeling.architectures.funnel import FUNNEL
from components.modeling.architectures.gte import GTE
from components.modeling.architectures.ibert import IBERT
from components.modeling.architectures.jina_embeddings_v3 import JINA_EMBEDDINGS_V3
from components.modeling.architectures.layoutlm import LAYOUTLM
from components.modeling.architectures.longformer import LONGFORMER
from components.modeling.architectures.luke import LUKE
from components.modeling.architectures.mbart import MBART
from components.modeling.architectures.megatron_bert import MEGATRON_BERT
from components.modeling.architectures.mobilebert import MOBILEBERT
from components.modeling.architectures.modernbert import MODERNBERT
from components.modeling.architectures.mpnet import MPNET
from components.modeling.architectures.mvp import MVP
from components.modeling.architectures.nezha import NEZHA
from components.modeling.architectures.nomic_bert import NOMIC_BERT
from components.modeling.architectures.nystromformer import NYSTROMFORMER
from components.modeling.architectures.perceiver import PERCEIVER
from components.modeling.architectures.qdqbert import QDQBERT
from components.modeling.architectures.rembert import REMBERT
from components.modeling.architectures.roberta import ROBERTA
from components.modeling.architectures.roberta_prelayernorm import ROBERTA_PRELAYERNORM
from components.modeling.architectures.roc_bert import ROC_BERT
from components.modeling.architectures.roformer import ROFORMER
from components.modeling.architectures.squeezebert import SQUEEZEBERT
from components.modeling.architectures.tapas import TAPAS
from components.modeling.architectures.xlm import XLM
from components.modeling.architectures.xlm_roberta import XLM_ROBERTA
from components.modeling.architectures.xlm_roberta_xl import XLM_ROBERTA_XL
from components.modeling.architectures.xmod import XMOD
from components.modeling.architectures.yoso import YOSO

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ARCHITECTURES: Mapping[str, Architecture] = {
    record.model_type: record
    for record in (
        *(ALBERT, BERT, CAMEMBERT, CONVBERT, DEBERTA, DEBERTA_V2, DISTILBERT, ELECTRA, ESM, FLAUBERT, FUNNEL, LAYOUTLM),
        *(LONGFORMER, MOBILEBERT, MPNET, REMBERT, ROBERTA, ROBERTA_PRELAYERNORM, ROFORMER, TAPAS, XLM, XLM_ROBERTA),
        # Those of our own encoder.
        *(BART, BIG_BIRD, DATA2VEC_TEXT, ERNIE, ESMC, EUROBERT, FNET, GTE, IBERT, JINA_EMBEDDINGS_V3, LUKE, MBART),
        *(MEGATRON_BERT, MODERNBERT, MVP, NEZHA, NOMIC_BERT, NYSTROMFORMER, PERCEIVER, QDQBERT, ROC_BERT, SQUEEZEBERT),
        *(XLM_ROBERTA_XL, XMOD, YOSO),
    )
}
"""Those that have a masked-LM class for TensorFlow in transformers, and those that our own encoder builds."""

REFUSED: Mapping[str, str] = {
    "mra": "without its CUDA kernel PyTorch's own class answers zeros; longformer and modernbert take long texts, too",
    "reformer": "its attention sorts tokens by hashes drawn at random; modernbert takes long texts, too",
    "mega": "transformers has given it up; modernbert takes long texts, too",
    "wav2vec2": "it has no masked language model over text: what it fills in is sound",
}
"""Those that transformers 4.57 has for PyTorch and that this project leaves out: why, and what there is instead."""


def architecture_of(config: "PretrainedConfig") -> Architecture:
    """The record of a model's architecture, by its configuration."""
    return ARCHITECTURES[config.model_type]


def can_be_trimmed(config: "PretrainedConfig") -> bool:
    """Whether a model gives the same for texts with less padding after them, and can be traced for any length."""
    record = architecture_of(config)
    return record.ignores_padding(config) and record.why_not_exported(config) is None
