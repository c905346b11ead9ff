"""The directory that the server is given: a base path with versions, or one SavedModel. Imports no TensorFlow."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError
from foundation.tokenizer_length import stated_length
from foundation.versions import EXAMPLE, LIMITS, SAVED_MODEL, TOKENIZER, parse_version, versions


@dataclasses.dataclass(frozen=True)
class ModelDirectory:
    """A base path with integer version directories, or a single SavedModel's own directory.

    Attributes:
        path: The directory, absolute.
        is_single: Whether it is a SavedModel itself.
    """

    path: Path
    is_single: bool

    @classmethod
    def open(cls, path: Path) -> "ModelDirectory":
        """Looks at a directory.

        Raises:
            ConfigError: If it is neither.
        """
        path = path.resolve()
        is_single = (path / SAVED_MODEL).exists()
        try:
            fits = is_single or (path.is_dir() and bool(versions(path)))
        except OSError as error:
            raise ConfigError(
                "--model-dir must be a directory that can be read",
                received=f"{path}: {error.strerror}",
                remedy="give this user the permission to read it",
            ) from error
        if not fits:
            raise ConfigError(
                f"--model-dir must be a base path with version directories (1, 2, …) or a directory with {SAVED_MODEL}",
                received=f"{path}, which {'holds neither' if path.is_dir() else 'is not a directory'}",
                remedy="give the directory that the pipeline's push step names",
            )
        return cls(path, is_single)

    @property
    def base_path(self) -> Path:
        """What to give TensorFlow Serving: the directory that has the versions as children."""
        return self.path.parent if self.is_single else self.path

    @property
    def name(self) -> str:
        """The model's name by default: the base path's own."""
        numbered = self.is_single and parse_version(self.path.name) is not None
        return self.path.parent.name if numbered else self.path.name

    def versions(self) -> dict[int, Path]:
        """Directories of the versions that stand now, by number.

        A single SavedModel's version is its directory's name if that is an integer, else 1.

        Raises:
            OSError: If the directory can't be read.
        """
        if not self.is_single:
            return versions(self.path)
        version = parse_version(self.path.name)
        return {1 if version is None else version: self.path}


def read_mask_token(saved_model: Path) -> str | None:
    """The mask token of the tokenizer that travels with a SavedModel; None where none does."""
    token = read_tokenizer(saved_model).get("mask_token")
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) and token else None


def read_example(saved_model: Path) -> str | None:
    """A text to try the model on, with its mask token.

    Returns:
        A mask token alone where no text travels with the SavedModel; None where no tokenizer does either.
    """
    try:
        return (saved_model / EXAMPLE).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return read_mask_token(saved_model)


def read_longest(saved_model: Path) -> int | None:
    """The most tokens of a text that a SavedModel answers; None where neither it nor its tokenizer says."""
    stated = read_object(saved_model / LIMITS).get("max_sequence_length")
    return stated if isinstance(stated, int) else stated_length(read_tokenizer(saved_model).get("model_max_length"))


def read_truncation(saved_model: Path) -> bool:
    """Whether a SavedModel says that it cuts longer texts and answers them."""
    return read_object(saved_model / LIMITS).get("truncation") is True


def read_tokenizer(saved_model: Path) -> dict[str, Any]:
    """The configuration of the tokenizer that travels with a SavedModel; empty where it can't be read."""
    return read_object(saved_model / TOKENIZER / "tokenizer_config.json")


def read_object(path: Path) -> dict[str, Any]:
    """A file's JSON object; empty where it can't be read."""
    try:
        read = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}
