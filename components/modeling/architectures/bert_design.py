"""What the descendants of BERT have in common that our own encoder builds."""

from typing import TYPE_CHECKING, Any

from components.modeling.architectures.design import Design, require_values
from components.modeling.architectures.names import BERT_NAMES, Names

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def bert_design(config: "PretrainedConfig", names: Names = BERT_NAMES, **values: Any) -> Design:
    """The design of a BERT.

    Args:
        config: Its configuration, with BERT's keys.
        names: PyTorch's names of the parts.
        values: What differs.

    Raises:
        ModelError: If the configuration has an option that there is none of here.
    """
    require_values(config, position_embedding_type=("absolute", None), is_decoder=(False,))
    common = {
        "names": names,
        "vocabulary": config.vocab_size,
        "hidden": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "inner": config.intermediate_size,
        "activation": config.hidden_act,
        "norm_epsilon": config.layer_norm_eps,
        "position_count": config.max_position_embeddings,
        "types": config.type_vocab_size,
        "head_activation": config.hidden_act,
        "tied": config.tie_word_embeddings,
        "embedding_dropout": config.hidden_dropout_prob,
        "attention_dropout": config.attention_probs_dropout_prob,
        "attention_output_dropout": config.hidden_dropout_prob,
        "inner_output_dropout": config.hidden_dropout_prob,
        "initializer_range": config.initializer_range,
        "output_initializer_range": config.initializer_range,
        "pad_token_id": config.pad_token_id or 0,
    }
    return Design(**{**common, **values})


def roberta_design(config: "PretrainedConfig", names: Names, **values: Any) -> Design:
    """The design of a RoBERTa, whose positions begin after the padding token's id, and whose head has the exact GELU.

    Args:
        config: Its configuration, with BERT's keys.
        names: PyTorch's names of the parts.
        values: What differs.

    Raises:
        ModelError: If the configuration has an option that there is none of here.
    """
    return bert_design(config, names, **{"positions": "after_padding", "head_activation": "gelu", **values})
