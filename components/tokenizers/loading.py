"""Loads a pretrained tokenizer, from a folder, a vocabulary file or the Hub, and refuses what is no use here."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from components.tokenizers.bare_vocabularies import find_vocabulary, load_bare, load_sentencepiece
from components.tokenizers.byte_tokenizers import as_fast, is_of_bytes
from components.tokenizers.later_tokenizers import is_of_later_version, load_of_later_version
from foundation.errors import HubError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


TEXT = "a \u4dff"
"""A text with a character that hardly any vocabulary has."""


def load_local(path: Path) -> tuple["PreTrainedTokenizerFast", list[str]]:
    """Loads a tokenizer from a folder that `save_pretrained` wrote, or from just a vocabulary.

    Args:
        path: A folder, or a vocabulary's file.

    Returns:
        The tokenizer, and what had to be guessed, a sentence each.

    Raises:
        ModelError: If there is no tokenizer that loads.
    """
    from transformers import AutoTokenizer

    vocabulary = find_vocabulary(path)
    try:
        if vocabulary is None and is_of_bytes(path):
            return as_fast(AutoTokenizer.from_pretrained(str(path), local_files_only=True)), []
        if vocabulary is None:
            raise FileNotFoundError("it holds no vocabulary")
        if is_of_later_version(path):
            return load_of_later_version(path), []
        if path.is_file() or not _is_described(path):
            return load_bare(vocabulary)
        try:
            loaded = AutoTokenizer.from_pretrained(
                str(path), local_files_only=True, use_fast=True, trust_remote_code=False
            )
            if not loaded.is_fast and vocabulary.suffix == ".model":
                return load_sentencepiece(vocabulary, path)
            return loaded, []
        except Exception:
            # Without the package `sentencepiece`, the library can't read its files; their form is public.
            if vocabulary.suffix != ".model":
                raise
            return load_sentencepiece(vocabulary, path)
    except ModelError:
        raise
    except Exception as error:  # the Rust library raises bare Exception for a damaged tokenizer.json
        raise ModelError(
            "a local tokenizer must be a folder that save_pretrained wrote, or a vocabulary: tokenizer.json, "
            "vocab.txt, vocab.json with merges.txt, or SentencePiece's model",
            received=f"{path}: {first_line(error)}",
            remedy="name such a folder or file, or a tokenizer on the Hub, with --tokenizer.pretrained",
        ) from error


def _is_described(directory: Path) -> bool:
    """Whether the files beside a vocabulary say of which class its tokenizer is."""
    if (directory / "config.json").is_file():
        return True
    try:
        return "tokenizer_class" in json.loads((directory / "tokenizer_config.json").read_text("utf-8"))
    except FileNotFoundError:
        return False


def load_from_hub(name: str, commit: str, download: Callable[[], Path]) -> tuple["PreTrainedTokenizerFast", list[str]]:
    """Loads a tokenizer from the Hub, at an exact commit.

    Args:
        name: The repository's.
        commit: Of the repository.
        download: Gets the tokenizer's files into a folder, where the library can't read them.

    Returns:
        The tokenizer, and what had to be guessed, a sentence each.

    Raises:
        HubError: If the Hub is out of reach, or has no such files.
        ModelError: If its files don't load as a tokenizer.
    """
    from transformers import AutoTokenizer

    try:
        try:
            loaded = AutoTokenizer.from_pretrained(name, revision=commit, use_fast=True, trust_remote_code=False)
            return as_fast(loaded), []
        except OSError:
            raise
        except Exception:
            directory = download()
            if is_of_later_version(directory):
                return load_of_later_version(directory), []
            vocabulary = find_vocabulary(directory)
            if vocabulary is None or vocabulary.suffix != ".model":
                raise
            return load_sentencepiece(vocabulary, directory)
    except ModelError:
        raise
    except OSError as error:
        raise HubError(
            "a pretrained tokenizer must be a local folder or a repository that the Hugging Face Hub gives out",
            received=f"{name!r} at {commit}: {first_line(error)}",
            remedy="check --tokenizer.pretrained and the network, or name a local folder",
        ) from error
    except Exception as error:  # as in load_local
        raise ModelError(
            "a pretrained tokenizer must load with AutoTokenizer, without code of its own",
            received=f"{name!r} at {commit}: {first_line(error)}",
            remedy="choose another tokenizer with --tokenizer.pretrained",
        ) from error


def refuse_unmaskable(tokenizer: "PreTrainedTokenizerFast", origin: str) -> None:
    """Refuses a tokenizer that is no use for masked language modeling here.

    Raises:
        ModelError: If it has no fast version or no mask token, no number as its longest sequence, or cuts no text.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            "the tokenizer must have a fast version (a tokenizer.json)",
            received=f"{type(tokenizer).__name__} {origin}, which has none",
            remedy="choose another tokenizer with --tokenizer.pretrained, for example distilbert/distilroberta-base",
        )
    if tokenizer.mask_token is None:
        raise ModelError(
            "the tokenizer must have a mask token",
            received=f"{type(tokenizer).__name__} {origin}, which has none "
            f"(its special tokens: {', '.join(tokenizer.all_special_tokens) or 'none'})",
            remedy="choose the tokenizer of a masked language model with --tokenizer.pretrained, for example "
            "distilbert/distilroberta-base",
        )
    if not isinstance(tokenizer.model_max_length, int | float):
        raise ModelError(
            "the tokenizer's model_max_length (in tokenizer_config.json) must be a number",
            received=f"{tokenizer.model_max_length!r} {origin}",
            remedy="correct it there, or take it out",
        )
    try:
        tokenizer.encode(TEXT)
    except Exception as error:  # the Rust library raises bare Exception
        raise ModelError(
            "the tokenizer must be able to cut any text into tokens",
            received=f"{type(tokenizer).__name__} {origin}: {first_line(error)}",
            remedy="complete its vocabulary, or choose another tokenizer with --tokenizer.pretrained",
        ) from error


def first_line(error: Exception) -> str:
    """The start of an exception's text, short enough for a message: the library may list every model it knows."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return textwrap.shorten(line, 160, placeholder=" …")
