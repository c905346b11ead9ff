"""Whether a tokenizer is the one that a checkpoint was trained with, token by token. Needs no TensorFlow."""

import logging
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.tokenizers.byte_tokenizers import is_of_bytes
from components.tokenizers.loading import load_local
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

VOCABULARIES = frozenset(
    {
        "tokenizer.json",
        "vocab.txt",
        "vocab.json",
        "spiece.model",
        "spm.model",
        "sentencepiece.bpe.model",
        "tokenizer.model",
    }
)
"""The files of which a folder with a tokenizer has at least one."""
BESIDE = frozenset(
    {"config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt"}
)
"""What belongs to it."""
SPARE = re.compile(r"[\[<]?(unused|reserved|madeupword|extra_id)[-_ ]?\d+[\]>]?", re.IGNORECASE)
"""Tokens that no text becomes: places for words of one's own."""
MOST_OWN_WORDS = 0.1
"""The part of a tokenizer's tokens, at most, that may be words of one's own."""
SHOWN = 3


def load_tokenizer(directory: Path) -> "PreTrainedTokenizerBase | None":
    """The tokenizer beside a checkpoint's weights; None where there is none, or none that can be read.

    Args:
        directory: The checkpoint's folder, or where it would be.
    """
    if not directory.is_dir() or not has_vocabulary(directory):
        return None
    try:
        return load_local(directory)[0]
    except ModelError as error:
        logger.warning("the tokenizer of %s can't be read, so its words aren't compared: %s", directory, error.received)
        return None


def has_vocabulary(directory: Path) -> bool:
    """Whether a folder holds what a tokenizer can be made of."""
    return any((directory / name).is_file() for name in VOCABULARIES) or is_of_bytes(directory)


def require_own_vocabulary(directory: Path, tokenizer: "PreTrainedTokenizerBase", source: str | None = None) -> None:
    """Refuses a tokenizer whose ids stand for other tokens than in the checkpoint's own one, where it carries one.

    What the tokenizer lacks does no harm, and neither do words of one's own in the place of tokens that no text
    becomes (`[unused7]`), or beyond the checkpoint's own: so many added ones (`add_tokens`) as there may be, but no
    more than a tenth of the tokens otherwise, which would be another vocabulary.

    Args:
        directory: The checkpoint's folder, or where it would be.
        tokenizer: What made the blocks.
        source: What messages call the checkpoint, if not by its path, such as a Hub id.

    Raises:
        ModelError: Naming the first ids that differ.
    """
    source = source or str(directory)
    own = load_tokenizer(directory)
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    differing = differences(tokenizer.get_vocab(), own.get_vocab(), added) if own is not None else []
    if differing:
        first = ", ".join(f"{id_} is {ours!r}, not {theirs!r}" for id_, ours, theirs in differing[:SHOWN])
        raise ModelError(
            "a pretrained model must go with the tokenizer that it was trained with, token by token",
            received=f"one in which {len(differing):,} of {len(tokenizer):,} ids stand for other tokens than in that "
            f"of {source}: {first}" + (", …" if len(differing) > SHOWN else ""),
            remedy=f"set --tokenizer.pretrained {source}, or train a new model with --train.model_type",
        )


def differences(
    ours: Mapping[str, int], theirs: Mapping[str, int], added: Container[str] = ()
) -> list[tuple[int, str, str]]:
    """The ids that stand for another token: id, our token and theirs, by id.

    Args:
        ours: Ids by token.
        theirs: Those that the model knows.
        added: Tokens of ours that were added to a vocabulary.
    """
    known = {id_: token for token, id_ in theirs.items()}
    differing: list[tuple[int, str, str]] = []
    own_words: list[tuple[int, str, str]] = []
    for token, id_ in ours.items():
        other = known.get(id_)
        if other == token or SPARE.fullmatch(token):
            continue
        # A spare place, or one beyond the model's own tokens, is free for a word that the model has nowhere else.
        is_free = (other is None or SPARE.fullmatch(other)) and token not in theirs
        if not (is_free and other is None and token in added):
            (own_words if is_free else differing).append((id_, token, other or "none"))
    return sorted(differing + (own_words if len(own_words) > MOST_OWN_WORDS * len(ours) else []))
