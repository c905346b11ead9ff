"""The kinds of errors that a user can cause or meet. What needs a finer name is a subclass, where it is raised.

PipelineError            a step failed; exit code 1
├── ConfigError          bad usage or configuration, found before any work; exit code 2
├── DataError            the corpus breaks a rule
├── ModelError           a checkpoint, architecture or tokenizer breaks a rule
├── ArtifactError        an artifact is missing, damaged or of another kind
│   └── DamagedArtifact  a finished artifact's files are no longer those that were written
├── HubError             the Hugging Face Hub is out of reach or refuses
└── ServingError         a server or an exported model answers with an error
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class PipelineError(Exception):
    """An error in three parts: the rule that was broken, what was received instead, and the way out.

    Args:
        rule: What must be, as a sentence without its full stop: "train.epochs must be at least 1".
        received: What was found instead.
        remedy: What the user can do about it.
    """

    exit_code = 1

    def __init__(self, rule: str, *, received: str, remedy: str) -> None:
        super().__init__(rule, received, remedy)
        self.rule = rule
        self.received = received
        self.remedy = remedy

    @property
    def sentences(self) -> tuple[str, str, str]:
        """The three parts, each as a sentence."""
        # What was received may be another program's sentence, with a full stop of its own.
        rule, received, remedy = (text.rstrip().removesuffix(".") for text in (self.rule, self.received, self.remedy))
        return f"{rule}.", f"Received: {received}.", f"Way out: {remedy}."

    def __str__(self) -> str:
        return " ".join(self.sentences)

    def __reduce__(self) -> tuple[Callable[..., "PipelineError"], tuple[Any, ...]]:
        # Errors travel from one process to another. An exception is otherwise made anew by a call of its class, which
        # here takes arguments by name, and in a subclass others.
        return _made_again, (type(self), self.args, self.__dict__)


def _made_again(kind: type[PipelineError], arguments: tuple[Any, ...], state: Mapping[str, Any]) -> PipelineError:
    """An error as another process had it."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class ConfigError(PipelineError):
    """Bad usage or configuration: refused before any work."""

    exit_code = 2


class DataError(PipelineError):
    """The corpus breaks a rule."""


class ModelError(PipelineError):
    """A checkpoint, architecture or tokenizer breaks a rule."""


class ArtifactError(PipelineError):
    """An artifact is missing, damaged or of another kind than the step needs."""


class DamagedArtifact(ArtifactError):
    """A finished artifact's files are no longer those that were written: the disk, a copy or a person changed them.

    Args:
        directory: The artifact's directory.
        received: What is wrong with it.
        was_replaced: Whether another one stands there by now, so that what is wrong isn't wrong with that.

    Attributes:
        mark: What tells the damaged directory from one that takes its place; None where it isn't there any more.
    """

    def __init__(self, directory: Path, received: str, *, was_replaced: bool = False) -> None:
        super().__init__(
            "an artifact's files must be those that were written",
            received=received,
            remedy=f"remove {directory} and run the pipeline again, which makes it anew",
        )
        self.directory = directory
        self.mark = None if was_replaced else directory_mark(directory)


def directory_mark(directory: Path) -> tuple[int, int, int] | None:
    """What tells a directory from another that takes its name; None where there is none."""
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


class HubError(PipelineError):
    """The Hugging Face Hub is out of reach or refuses."""


class ServingError(PipelineError):
    """A server or an exported model answers with an error."""
