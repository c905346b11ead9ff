"""NomicBERT: BERT with rotary positions, gates and few biases (Nussbaum et al. 2024, https://arxiv.org/abs/2402.01613).

Its authors' own code has GPT-2's names of its options.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from components.modeling.architectures.architecture import TINY, Architecture
from components.modeling.architectures.design import Design
from components.modeling.architectures.later_configuration import (
    LaterConfiguration,
    require_only,
    with_rope_parameters,
)
from components.modeling.architectures.names import BERT_NAMES
from components.modeling.architectures.rotary_bert import ROTARY_BERT_DEFAULTS, rotary_bert_design
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = dataclasses.replace(
    BERT_NAMES,
    model="nomic_bert",
    embedding_norm="emb_ln",
    layer="encoder.layers.{}",
    attention_norm="norm1",
    query="attn.Wqkv",
    attention_output="attn.out_proj",
    inner_norm="norm2",
    inner="mlp.fc12",
    gate="mlp.fc11",
    inner_output="mlp.fc2",
    head_norm="cls.predictions.transform.layer_norm",
)
THETA = 1_000.0
DEFAULTS = {
    **ROTARY_BERT_DEFAULTS,
    "vocab_size": 30_528,
    "hidden_act": "silu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 2_048,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "head_dim": None,
}
LATER_NAMES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
    "resid_pdrop": "hidden_dropout_prob",
    "attn_pdrop": "attention_probs_dropout_prob",
    "rotary_emb_base": "rope_theta",
}
"""transformers 5's names by those of the authors' own code."""
AUTHORS_DEFAULTS = {
    "rotary_emb_fraction": 0.0,
    "rotary_emb_base": 10_000,
    "qkv_proj_bias": True,
    "mlp_fc1_bias": True,
    "mlp_fc2_bias": True,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "resid_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "n_inner": None,
}
"""What that code means by an option that isn't written, where it is another value than transformers 5's."""


def read(written: dict[str, Any]) -> dict[str, Any]:
    """What the authors' own code writes has other names, and more options."""
    if "n_embd" not in written:
        return with_rope_parameters(written, THETA)
    written = {**AUTHORS_DEFAULTS, **written}
    gated = written.pop("activation_function")
    if gated not in ("swiglu", "silu"):
        raise ModelError(
            "activation_function of a nomic_bert must be 'swiglu': nothing else is supported",
            received=repr(gated),
            remedy="use another checkpoint, or train and serve this one with PyTorch",
        )
    require_only(
        written,
        "nomic_bert",
        rotary_emb_fraction=(1.0,),
        rotary_emb_interleaved=(False,),
        rotary_emb_scale_base=(),
        qkv_proj_bias=(False,),
        mlp_fc1_bias=(False,),
        mlp_fc2_bias=(False,),
        prenorm=(False,),
        parallel_block=(False,),
        parallel_block_tied_norm=(False,),
        use_rms_norm=(False,),
        causal=(False,),
        scale_attn_weights=(True,),
        scale_attn_by_inverse_layer_idx=(False,),
        num_experts=(0,),
    )
    # It divides positions dynamically, by this and the length; up to the length of its training nothing changes.
    trained = written.pop("max_trained_positions", None)
    if written.pop("rotary_scaling_factor", None) and trained:
        written["n_positions"] = min(trained, written.get("n_positions") or trained)
    # Vocabularies are filled up to a multiple.
    multiple = written.pop("pad_vocab_size_multiple", None) or 1
    written["vocab_size"] = -(-written["vocab_size"] // multiple) * multiple
    written["n_inner"] = written["n_inner"] or 4 * written["n_embd"]
    later = {LATER_NAMES.get(name, name): value for name, value in written.items()}
    return with_rope_parameters({**later, "hidden_act": "silu"}, THETA)


def design(config: "PretrainedConfig") -> Design:
    """What a NomicBERT is, by its configuration."""
    return rotary_bert_design(
        config,
        NAMES,
        THETA,
        gate="own",
        attention_bias=False,
        attention_output_bias=False,
        inner_bias=False,
        inner_output_bias=False,
        head_activation=config.hidden_act,
    )


NOMIC_BERT = Architecture(
    "nomic_bert",
    tiny=TINY,
    variants={
        "nomic_bert of scaled positions": {
            "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0},
            "layer_norm_eps": 1e-3,
        },
        "nomic_bert with GELU": {"hidden_act": "gelu", "type_vocab_size": 1, "num_attention_heads": 2},
    },
    pytorch_renames={r"^bert\.": "nomic_bert."},
    later_configuration=LaterConfiguration(DEFAULTS, read),
    design=design,
    pytorch_class="NomicBertForMaskedLM",
)
