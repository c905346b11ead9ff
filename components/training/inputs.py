"""What the train step must be given, and what of it can be refused before there is any of it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from components.contract.artifacts import Blocks, Tokenizer
from components.training.params import TrainParams
from foundation.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast


@dataclasses.dataclass(frozen=True)
class PlannedInputs:
    """What the settings of earlier steps say of the blocks and the tokenizer, before there are any.

    The preflight refuses with it what wouldn't go together; training looks at the blocks and the tokenizer themselves.

    Attributes:
        block_size: Tokens a block; None where that isn't known.
        packing: How the blocks are packed.
        tokenizer: The name or folder of a pretrained tokenizer; None for one that is to be trained.
        tokenizer_revision: Its branch, tag or commit on the Hub.
    """

    block_size: int | None = None
    packing: str = "concatenate"
    tokenizer: str | None = None
    tokenizer_revision: str | None = None


def require_own_tokenizer(
    params: TrainParams, tokenizer: Tokenizer, planned: PlannedInputs, config: "PretrainedConfig"
) -> None:
    """Refuses another tokenizer than the checkpoint's own, as soon as it is known which one there will be.

    Raises:
        ModelError: If there is a tokenizer already, or a pretrained one is named, and it doesn't go with the model.
    """
    from components.hub.checkpoints import tokenizer_directory
    from components.modeling.configuration import require_vocabulary
    from components.modeling.own_tokenizer import load_tokenizer, require_own_vocabulary

    name, revision = planned.tokenizer, planned.tokenizer_revision
    source = str(params.pretrained)
    if tokenizer.path is not None:
        loaded = tokenizer.load()
    elif name is None or (name, revision) == (source, params.revision) or Path(name).is_file():
        return  # A vocabulary's file is compared when it is a tokenizer.
    elif (loaded := load_tokenizer(tokenizer_directory(name, revision))) is None:
        return  # The step that loads it says why.
    require_vocabulary(config, loaded)
    require_own_vocabulary(tokenizer_directory(source, params.revision), loaded, source)


def require_blocks_to_learn_from(blocks: Blocks) -> None:
    """Refuses a train split without a block.

    Raises:
        DataError: If so.
    """
    if len(blocks.split("train")) == 0:
        raise DataError(
            "the train split must have at least one block",
            received=f"none: the train split has fewer than {blocks.block_size} tokens",
            remedy="lower --preprocess.block_size, or ingest more text",
        )


def require_validation(params: TrainParams, blocks: Blocks) -> None:
    """Refuses to look for the epoch with the lowest validation loss where there is nothing to validate on.

    Raises:
        DataError: If so.
    """
    for name in ("early_stopping_patience", "load_best_model_at_end"):
        if getattr(params, name) and len(blocks.split("test")) == 0:
            raise DataError(
                f"with train.{name}, the test split must have at least one block, for a validation loss",
                received=f"train.{name} {getattr(params, name)}, and a test split without a block",
                remedy=f"leave out --train.{name}, raise --ingest.test_size or lower --preprocess.block_size",
            )


def require_whole_words(params: TrainParams, tokenizer: "PreTrainedTokenizerFast") -> None:
    """Refuses to mask whole words with a tokenizer that doesn't mark where they begin.

    Raises:
        ConfigError: If so.
    """
    if params.whole_word_mask:
        from components.masking.whole_words import WordBoundaries

        WordBoundaries.of(tokenizer)


def require_documents_to_group(params: TrainParams, packing: str) -> None:
    """Refuses to group blocks by their length where all have one.

    Raises:
        ConfigError: If so.
    """
    if params.group_by_length and packing != "documents":
        raise ConfigError(
            "train.group_by_length must be set only with preprocess.packing documents: other blocks have one length",
            received=f"train.group_by_length true with preprocess.packing {packing}",
            remedy="set --preprocess.packing documents, or leave out --train.group_by_length",
        )
