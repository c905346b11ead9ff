"""FNet: BERT with a Fourier transform in place of attention (Lee-Thorp et al. 2021, https://arxiv.org/abs/2105.03824)."""

import dataclasses
from typing import TYPE_CHECKING

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.design import Design
from components.modeling.architectures.names import BERT_NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(
    BERT_NAMES,
    model="fnet",
    embedding_map="embeddings.projection",
    attention_norm="fourier.output.LayerNorm",
)


def design(config: "PretrainedConfig") -> Design:
    """BERT's without attention, and with a matrix after the embeddings.

    `use_tpu_fourier_optimizations` says how PyTorch computes the transform, not what it is.
    """
    return Design(
        names=NAMES,
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=1,
        inner=config.intermediate_size,
        activation=config.hidden_act,
        norm_epsilon=config.layer_norm_eps,
        mixer="fourier",
        position_count=config.max_position_embeddings,
        types=config.type_vocab_size,
        maps_embeddings=True,
        head_activation=config.hidden_act,
        tied=config.tie_word_embeddings,
        embedding_dropout=config.hidden_dropout_prob,
        inner_output_dropout=config.hidden_dropout_prob,
        initializer_range=config.initializer_range,
        output_initializer_range=config.initializer_range,
        pad_token_id=config.pad_token_id or 0,
    )


FNET = Architecture(
    "fnet",
    tiny={
        **{name: value for name, value in TINY.items() if name != "num_attention_heads"},
        "intermediate_size": 64,
    },
    variants={"fnet of one type": {"type_vocab_size": 1, "hidden_act": "relu", "layer_norm_eps": 1e-3}},
    design=design,
    pytorch_class="FNetForMaskedLM",
    heads_divide_hidden_size=False,  # there are none
    why_not_packable=lambda config: "its Fourier transform mixes all tokens of a block",
    unused_weights=("cls.seq_relationship.",),
    kept_weights=r"^fnet\.pooler\.",
)
