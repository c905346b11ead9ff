"""Which architectures there are, and the configuration of a checkpoint or of a new model. Needs no TensorFlow."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.hub.reading import cached_snapshot, download, resolve_revision
from components.modeling import weights
from foundation.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase, TFPreTrainedModel


def masked_lm_model_types() -> tuple[str, ...]:
    """The architectures that have a TensorFlow masked-LM class, sorted."""
    from transformers.models.auto.modeling_tf_auto import TF_MODEL_FOR_MASKED_LM_MAPPING_NAMES

    return tuple(sorted(TF_MODEL_FOR_MASKED_LM_MAPPING_NAMES))


def load_config(directory_or_name: str | Path, revision: str | None = None) -> "PretrainedConfig":
    """The configuration of a checkpoint. Downloads no weights.

    Raises:
        ModelError: If it can't be read, or its architecture is unknown.
        HubError: If a Hub id can't be fetched.
    """
    from transformers import AutoConfig

    directory = Path(directory_or_name)
    if not directory.is_dir():
        repo_id = str(directory_or_name)
        commit = resolve_revision(repo_id, "model", revision)
        directory = cached_snapshot(repo_id, "model", commit)
        if not (directory / weights.CONFIG_NAME).is_file():
            directory = download(repo_id, "model", commit, [weights.CONFIG_NAME])
    if not (directory / weights.CONFIG_NAME).is_file():
        raise ModelError(
            f"a checkpoint folder holds a {weights.CONFIG_NAME}",
            received=f"{directory} has none",
            remedy="point `train.pretrained` to a folder that `save_pretrained` wrote, or give a Hub id",
        )
    try:
        # Code from a repository is never run: False also keeps the library from asking on the terminal.
        return AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{weights.CONFIG_NAME} describes an architecture that transformers knows",
            received=f"{directory / weights.CONFIG_NAME}: {str(error).splitlines()[0]}",
            remedy=f"use a checkpoint of one of {', '.join(masked_lm_model_types())}",
        ) from error


def masked_lm_class(model_type: str) -> "type[TFPreTrainedModel]":
    """The TensorFlow masked-LM class of an architecture. This imports TensorFlow.

    Raises:
        ModelError: If it has none.
    """
    from transformers import CONFIG_MAPPING, TF_MODEL_FOR_MASKED_LM_MAPPING

    require_model_type(model_type)
    return TF_MODEL_FOR_MASKED_LM_MAPPING[CONFIG_MAPPING[model_type]]


def require_model_type(model_type: str) -> None:
    """Refuses an architecture without a TensorFlow masked-LM class.

    Raises:
        ModelError: Naming those that have one.
    """
    known = masked_lm_model_types()
    if model_type not in known:
        close = difflib.get_close_matches(model_type, known, n=1)
        raise ModelError(
            "the architecture needs a masked-LM class for TensorFlow",
            received=f"model type {model_type!r}" + (f" (did you mean {close[0]!r}?)" if close else ""),
            remedy=f"use one of {', '.join(known)}",
        )


def build_config(
    model_type: str, overrides: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase"
) -> "PretrainedConfig":
    """The configuration of a new model: the architecture's defaults, the tokenizer's ids, then the overrides.

    Raises:
        ModelError: If the architecture has no TensorFlow class, or an override is unknown or refused.
    """
    require_overrides(model_type, overrides)
    special_ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "mask")}
    from_tokenizer = {name: value for name, value in special_ids.items() if value is not None}
    values = {"vocab_size": len(tokenizer), **from_tokenizer, **overrides}
    if values["vocab_size"] < len(tokenizer):
        raise ModelError(
            "the model's vocabulary holds every id of the tokenizer",
            received=f"train.model_config.vocab_size={values['vocab_size']} for a tokenizer of {len(tokenizer)} tokens",
            remedy="leave `train.model_config.vocab_size` out, or set it to that number or more",
        )
    return plain_config(model_type, values)


def plain_config(model_type: str, values: Mapping[str, Any]) -> "PretrainedConfig":
    """The configuration of an architecture with some values.

    Raises:
        ModelError: If it refuses one.
    """
    from transformers import CONFIG_MAPPING

    try:
        return CONFIG_MAPPING[model_type](**values)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(
            f"`train.model_config` holds values that {model_type} accepts",
            received=f"{dict(values)}: {error}",
            remedy="correct the value that the message names",
        ) from error


def require_overrides(model_type: str, overrides: Mapping[str, Any]) -> None:
    """Refuses overrides that the architecture's configuration doesn't have.

    Raises:
        ModelError: Naming the nearest valid keys.
    """
    from transformers import CONFIG_MAPPING

    require_model_type(model_type)
    config = CONFIG_MAPPING[model_type]()
    known = sorted({*config.to_dict(), *config.attribute_map} - {"model_type", "transformers_version"})
    for name in overrides:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3) or known
            raise ModelError(
                f"`train.model_config` holds keys of {model_type}'s configuration",
                received=f"unknown key {name!r}",
                remedy=f"use one of {', '.join(close)}",
            )


def largest_block_size(config: "PretrainedConfig") -> int | None:
    """The longest sequence that an architecture accepts, in tokens; None where nothing limits it."""
    positions = getattr(config, "max_position_embeddings", None)
    unlimited = (
        config.model_type == "funnel"  # relative positions, computed for any length
        or getattr(config, "position_embedding_type", None) == "rotary"
        or getattr(config, "position_biased_input", True) is False
    )
    if positions is None or unlimited:
        return None
    if config.model_type == "esm":
        return int(positions) - (config.pad_token_id or 0) - 1  # a new model has the id from its tokenizer, later
    # RoBERTa and its relatives count positions from the padding token's id on, which TensorFlow's classes fix at 1.
    roberta = {"camembert", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"}
    return int(positions) - (2 if config.model_type in roberta else 0)


def require_positions(config: "PretrainedConfig", block_size: int) -> None:
    """Refuses blocks that are longer than the model accepts.

    Raises:
        ConfigError: With both numbers.
    """
    largest = largest_block_size(config)
    if largest is not None and block_size > largest:
        raise ConfigError(
            f"preprocess.block_size is at most the longest sequence of the model, {largest:,} tokens for this "
            f"{config.model_type}",
            received=f"blocks of {block_size:,} tokens",
            remedy=f"set --preprocess.block_size to {largest} or less, or raise max_position_embeddings of a new model",
        )


def require_heads(config: "PretrainedConfig") -> None:
    """Refuses a new model whose hidden size its attention heads can't divide among them.

    Raises:
        ConfigError: With both numbers.
    """
    own_sizes = {"funnel", "mobilebert"}  # whose heads have a size of their own, or divide another
    hidden, heads = config.hidden_size, config.num_attention_heads
    if config.model_type not in own_sizes and (heads < 1 or hidden % heads):
        raise ConfigError(
            f"the hidden size of a {config.model_type} is a multiple of its number of attention heads",
            received=f"hidden size {hidden}, {heads} heads",
            remedy="correct the two in --train.model_config",
        )


def require_vocabulary(config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuses a pretrained model that was trained with another tokenizer, as far as their sizes tell.

    A model may have some more ids than its tokenizer, because vocabularies are padded to round numbers.

    Raises:
        ModelError: With both numbers.
    """
    tokens = len(tokenizer)
    if not 0.9 * config.vocab_size <= tokens <= config.vocab_size:
        raise ModelError(
            "a pretrained model goes with the tokenizer that it was trained with",
            received=f"a tokenizer of {tokens:,} tokens for a model with a vocabulary of {config.vocab_size:,}",
            remedy="set --tokenizer.pretrained to the same name or folder as --train.pretrained, or train a new model "
            "with --train.model_type",
        )
