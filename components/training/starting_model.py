"""What a training starts from: a checkpoint, maybe grown, a new model, or where another training began."""

import dataclasses
from typing import TYPE_CHECKING

from components.contract.artifacts import Blocks
from components.training.continuing import FinishedTraining
from components.training.params import TrainParams

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast, TFPreTrainedModel


@dataclasses.dataclass(frozen=True)
class StartingModel:
    """A model before the first step.

    Attributes:
        model: The model.
        has_new_head: Whether it is of a checkpoint without a head, so that its head has random weights.
        new_words: How many words of the tokenizer the checkpoint has grown by.
        notes: What is new in it, a sentence each, for the person who watches the run.
    """

    model: "TFPreTrainedModel"
    has_new_head: bool = False
    new_words: int = 0
    notes: tuple[str, ...] = ()


def model_config(params: TrainParams) -> "PretrainedConfig":
    """The model's configuration; that of a new one lacks what the tokenizer determines.

    Args:
        params: Say where it starts from.

    Raises:
        ModelError: If it can't be read, or its architecture has no TensorFlow class.
    """
    from components.hub.checkpoints import config_directory
    from components.modeling.configuration import (
        choose_language,
        load_config,
        plain_config,
        require_model_type,
        require_overrides,
    )

    if params.pretrained is None:
        require_overrides(str(params.model_type), params.model_config)
        return plain_config(str(params.model_type), params.model_config)
    config = load_config(config_directory(params.pretrained, params.revision))
    require_model_type(config.model_type)
    choose_language(config, params.language)
    return config


def starting_model(
    params: TrainParams, blocks: Blocks, tokenizer: "PreTrainedTokenizerFast", continued: FinishedTraining | None
) -> StartingModel:
    """The model before the first step.

    Args:
        params: Say where it starts from.
        blocks: What it is to be trained on.
        tokenizer: What they were made with.
        continued: The finished training that is gone on from; None for none.

    Raises:
        ModelError: If it can't be built or loaded, or doesn't fit the tokenizer or the blocks.
    """
    import tensorflow as tf

    from components.hub.checkpoints import checkpoint_directory, config_directory, tokenizer_directory
    from components.modeling.checkpoint import build_masked_lm, load_checkpoint, load_masked_lm
    from components.modeling.configuration import build_config, choose_language, load_config, require_vocabulary
    from components.modeling.growing import grow, pieces_of_new_words
    from components.modeling.own_tokenizer import load_tokenizer, require_own_vocabulary

    if continued is not None:
        checkpoint = continued.checkpoint
        report = checkpoint.report
        initial = load_masked_lm(checkpoint.initial_directory)
        return StartingModel(initial, report.has_new_head, report.new_words)
    if params.pretrained is None:
        model_type = str(params.model_type)
        config = build_config(model_type, params.model_config, tokenizer)
        require_blocks(config, blocks.block_size, blocks.packing)
        model = build_masked_lm(model_type, params.model_config, tokenizer, params.seed)
        frozen = "train.layer_freezing keeps random weights of this new model as they are: it is meant for a checkpoint"
        return StartingModel(model, notes=(frozen,) if params.layer_freezing else ())
    # What the configuration shows to be wrong is refused before the weights are downloaded and read.
    config = load_config(config_directory(params.pretrained, params.revision))
    choose_language(config, params.language)
    require_blocks(config, blocks.block_size, blocks.packing)
    require_vocabulary(config, tokenizer)
    require_own_vocabulary(tokenizer_directory(params.pretrained, params.revision), tokenizer, params.pretrained)
    # What the checkpoint lacks starts at random, and equal runs are to be equal.
    tf.keras.utils.set_random_seed(params.seed)
    directory = checkpoint_directory(params.pretrained, params.revision)
    loaded = load_checkpoint(directory, params.pretrained, params.language)
    notes: tuple[str, ...] = (loaded.what_is_new,) if loaded.missing else ()
    own = load_tokenizer(tokenizer_directory(params.pretrained, params.revision))
    new_words = pieces_of_new_words(tokenizer, own, config.vocab_size)
    if not new_words:
        return StartingModel(loaded.model, loaded.has_new_head, notes=notes)
    stay = "; train.layer_freezing keeps that as it is" if params.layer_freezing else ""
    notes += (
        f"1 new word, from the mean of its pieces{stay}"
        if len(new_words) == 1
        else f"{len(new_words):,} new words, each from the mean of its pieces{stay}",
    )
    return StartingModel(grow(loaded.model, new_words), loaded.has_new_head, len(new_words), notes)


def require_blocks(config: "PretrainedConfig", block_size: int | None, packing: str) -> None:
    """Refuses blocks that a model can't take.

    Args:
        config: The model's.
        block_size: Tokens a block; None where that isn't known yet.
        packing: How the blocks are packed.

    Raises:
        ConfigError: If they are longer than the model's longest sequence, or the model can't keep the documents of a
            packed block apart.
    """
    from components.modeling.configuration import require_packable, require_positions

    if packing == "packed":
        require_packable(config)
    if block_size is not None:
        require_positions(config, block_size)
