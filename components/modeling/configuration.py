"""The configuration of a checkpoint or of a new model, and what is refused by it alone. Needs no TensorFlow."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.modeling import weights
from components.modeling.architectures.architecture import Architecture
from components.modeling.architectures.records import ARCHITECTURES, REFUSED, architecture_of
from components.modeling.config_classes import config_class, record_of_written
from foundation.errors import ConfigError, ModelError, PipelineError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase, TFPreTrainedModel


ROUND = 64
"""Vocabularies are padded to a multiple of it."""


def load_config(directory: Path) -> "PretrainedConfig":
    """The configuration of a checkpoint, by its folder. Its weights need not be there.

    Raises:
        ModelError: If it can't be read, or its architecture is unknown.
    """
    from transformers import AutoConfig

    if not (directory / weights.CONFIG_NAME).is_file():
        raise ModelError(
            f"a checkpoint folder must hold a {weights.CONFIG_NAME}",
            received=f"{directory} has none",
            remedy="point `train.pretrained` to a folder that `save_pretrained` wrote, or give a Hub id",
        )
    written = _read_config(directory / weights.CONFIG_NAME)
    if (record := record_of_written(written.get("model_type"))) is not None:
        return _later_config(record, written, directory)
    try:
        # Code from a repository is never run: False also keeps the library from asking on the terminal.
        return AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if not isinstance(written.get("model_type"), str):
            # The library's message has the names of all architectures in it.
            raise ModelError(
                f"{weights.CONFIG_NAME} must name the architecture",
                received=f"{directory / weights.CONFIG_NAME}, which has no model_type",
                remedy='write it there, such as "model_type": "bert" for a checkpoint of BERT',
            ) from error
        raise ModelError(
            f"{weights.CONFIG_NAME} must describe an architecture that transformers knows",
            received=f"{directory / weights.CONFIG_NAME}: {str(error).splitlines()[0]}",
            remedy=f"use a checkpoint of one of {', '.join(sorted(ARCHITECTURES))}",
        ) from error


def _later_config(record: Architecture, written: dict[str, Any], directory: Path) -> "PretrainedConfig":
    """A configuration that transformers 4 has no class for.

    Raises:
        ModelError: If it can't be read, or says what our own encoder doesn't know.
    """
    if record.later_configuration is None:
        raise ValueError(f"{record.model_type} has a class in transformers")
    try:
        values = record.later_configuration.read(dict(written))
        # With other names of its sizes, it would be a model of the default ones.
        if "hidden_size" not in values:
            raise KeyError("hidden_size")
        # Code of the authors' own that is named there is never run.
        own = {"model_type", "auto_map", "transformers_version", "_name_or_path"}
        return config_class(record.model_type)(**{name: value for name, value in values.items() if name not in own})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{weights.CONFIG_NAME} must describe a {record.model_type}",
            received=f"{directory / weights.CONFIG_NAME}: {type(error).__name__}: {str(error).splitlines()[0]}",
            remedy="use the config.json that belongs to the weights",
        ) from error


def _read_config(file: Path) -> dict[str, Any]:
    """What a configuration's file holds.

    Raises:
        ModelError: If it is no JSON object.
    """
    try:
        written = json.loads(file.read_bytes())
        found = "" if isinstance(written, dict) else f"which holds {written!r:.40}"
    except ValueError as error:
        written, found = None, str(error)
    if not isinstance(written, dict):
        raise ModelError(
            f"{weights.CONFIG_NAME} must be a JSON object",
            received=f"{file}: {found}",
            remedy="copy or download the checkpoint again",
        )
    return written


def choose_language(config: "PretrainedConfig", language: str | None) -> None:
    """Makes a language the one that a model is used for.

    Args:
        config: The model's, which is changed.
        language: One that it has parts for; None for the one that it names itself.

    Raises:
        ConfigError: If it has no parts for single languages.
    """
    option = architecture_of(config).language_option
    if language is None:
        return
    if not option:
        having = sorted(record.model_type for record in ARCHITECTURES.values() if record.language_option)
        raise ConfigError(
            "train.language must be set only for a checkpoint with parts for each language",
            received=f"{language!r} for a {config.model_type}",
            remedy=f"leave it out; {', '.join(having)} has such parts",
        )
    config.update({option: language})


def language_of(config: "PretrainedConfig") -> str | None:
    """The language that a model is used for; None where it names none, or has no parts for single languages."""
    option = architecture_of(config).language_option
    return getattr(config, option) if option else None


def masked_lm_class(model_type: str) -> "type[TFPreTrainedModel]":
    """The TensorFlow masked-LM class of an architecture. This imports TensorFlow.

    Raises:
        ModelError: If it has none.
    """
    from transformers import TF_MODEL_FOR_MASKED_LM_MAPPING

    require_model_type(model_type)
    return TF_MODEL_FOR_MASKED_LM_MAPPING[config_class(model_type)]


def require_model_type(model_type: str, kind: type[PipelineError] = ModelError) -> None:
    """Refuses an architecture that has neither a TensorFlow masked-LM class nor a design of our own encoder.

    Args:
        model_type: The architecture.
        kind: The error to raise: another one where it is a setting that names the architecture.

    Raises:
        PipelineError: Of that kind, naming the architectures that there are.
    """
    known = sorted(ARCHITECTURES)
    if model_type not in ARCHITECTURES:
        from transformers import CONFIG_MAPPING

        close = difflib.get_close_matches(model_type, known, n=1)
        if model_type in REFUSED:
            what = f": {REFUSED[model_type]}"
        elif model_type in CONFIG_MAPPING:
            what = ", of which this project has none"
        else:
            what = f" (did you mean {close[0]!r}?)" if close else ""
        raise kind(
            "the architecture must be one that this project has a masked language model of",
            received=f"model type {model_type!r}{what}",
            remedy=f"use one of {', '.join(known)}",
        )


def build_config(
    model_type: str, overrides: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase"
) -> "PretrainedConfig":
    """The configuration of a new model: the architecture's defaults, the tokenizer's ids, then the overrides.

    Raises:
        ConfigError: If the architecture has no TensorFlow class, or an override is unknown or refused.
    """
    require_overrides(model_type, overrides)
    values = {"vocab_size": len(tokenizer), **special_ids(model_type, tokenizer), **overrides}
    if values["vocab_size"] < len(tokenizer):
        raise ConfigError(
            "the model's vocabulary must hold every id of the tokenizer",
            received=f"train.model_config.vocab_size={values['vocab_size']} for a tokenizer of {len(tokenizer)} tokens",
            remedy="leave `train.model_config.vocab_size` out, or set it to that number or more",
        )
    return plain_config(model_type, values)


def special_ids(model_type: str, tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """The options of an architecture's configuration that name special tokens, for those that a tokenizer has."""
    names = {f"{name}_token_id": (name,) for name in ("pad", "bos", "eos", "mask")}
    tokens = {**names, **ARCHITECTURES[model_type].special_ids}
    ids = {option: [getattr(tokenizer, f"{name}_token_id") for name in those] for option, those in tokens.items()}
    found = {option: [id_ for id_ in those if id_ is not None] for option, those in ids.items()}
    return {option: those[0] for option, those in found.items() if those}


def plain_config(model_type: str, values: Mapping[str, Any]) -> "PretrainedConfig":
    """The configuration of an architecture with some values.

    Raises:
        ConfigError: If it refuses one.
    """
    try:
        return config_class(model_type)(**values)
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"`train.model_config` must hold values that {model_type} accepts",
            received=f"{dict(values)}: {error}",
            remedy="correct the value that the message names",
        ) from error


def require_overrides(model_type: str, overrides: Mapping[str, Any]) -> None:
    """Refuses overrides that the architecture's configuration doesn't have.

    Raises:
        ConfigError: For an architecture without a TensorFlow class, or naming the nearest valid keys.
    """
    require_model_type(model_type, ConfigError)
    config = config_class(model_type)()
    known = sorted({*config.to_dict(), *config.attribute_map} - {"model_type", "transformers_version"})
    for name in overrides:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3) or known
            raise ConfigError(
                f"`train.model_config` must hold keys of {model_type}'s configuration",
                received=f"unknown key {name!r}",
                remedy=f"use one of {', '.join(close)}",
            )


def require_positions(config: "PretrainedConfig", block_size: int) -> None:
    """Refuses blocks that are longer than the model accepts.

    Raises:
        ConfigError: With both numbers.
    """
    longest = architecture_of(config).longest_sequence(config)
    if longest is not None and block_size > longest:
        raise ConfigError(
            f"preprocess.block_size must be at most the longest sequence of the model, {longest:,} tokens for this "
            f"{config.model_type}",
            received=f"blocks of {block_size:,} tokens",
            remedy=f"set --preprocess.block_size to {longest} or less, or raise max_position_embeddings of a new model",
        )


def require_heads(config: "PretrainedConfig") -> None:
    """Refuses a new model whose hidden size its attention heads can't divide among them.

    One whose configuration has no such two numbers is left to its design.

    Raises:
        ConfigError: With both numbers.
    """
    hidden, heads = (getattr(config, name, None) for name in ("hidden_size", "num_attention_heads"))
    if hidden is None or heads is None:
        return
    if architecture_of(config).heads_divide_hidden_size and (heads < 1 or hidden % heads):
        raise ConfigError(
            f"the hidden size of a {config.model_type} must be a multiple of its number of attention heads",
            received=f"hidden size {hidden}, {heads} heads",
            remedy="correct the two in --train.model_config",
        )


def require_packable(config: "PretrainedConfig") -> None:
    """Refuses a model whose attention can't be kept within the documents of a block.

    Raises:
        ConfigError: With the reason, naming both settings.
    """
    reason = architecture_of(config).why_not_packable(config)
    if reason is not None:
        raise ConfigError(
            "with preprocess.packing packed, the architecture must be one whose documents can be kept apart",
            received=f"{config.model_type} (train.pretrained or train.model_type): {reason}",
            remedy="set --preprocess.packing documents or concatenate, or train another architecture, such as roberta",
        )


def require_vocabulary(config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuses a pretrained model that was trained with another tokenizer, as far as their sizes tell.

    A model may have some more ids than its tokenizer, because vocabularies are padded to round numbers, small ones to
    a multiple of 64; and a tokenizer may have words that were added to it, which the model will grow by.

    Raises:
        ModelError: With both numbers.
    """
    added = tokenizer.added_tokens_decoder
    tokens = [id_ for id_ in tokenizer.get_vocab().values() if id_ < config.vocab_size or id_ not in added]
    fewest = min(0.9 * config.vocab_size, config.vocab_size - (ROUND - 1 if config.vocab_size % ROUND == 0 else 0))
    if not fewest <= len(tokens) <= config.vocab_size or max(tokens) >= config.vocab_size:
        raise ModelError(
            "a pretrained model must go with the tokenizer that it was trained with",
            received=f"a tokenizer of {len(tokens):,} tokens for a model with a vocabulary of {config.vocab_size:,}",
            remedy="set --tokenizer.pretrained to the same name or folder as --train.pretrained (and words to add with "
            "--tokenizer.add_tokens), or train a new model with --train.model_type",
        )
