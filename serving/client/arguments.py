"""What a model may be asked, over the network or in this process."""

from collections.abc import Sequence

from foundation.errors import ConfigError
from serving.client.answers import shorten


def check_arguments(texts: list[str], top_k: int | None, targets: Sequence[str] | None) -> None:
    """Refuses impossible arguments before anything is asked.

    Raises:
        ConfigError: Naming the argument.
    """
    for text in texts:
        if not isinstance(text, str):
            raise ConfigError(
                "texts must be a string or a list of strings", received=shorten(repr(text)), remedy="give strings"
            )
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or not 1 <= top_k < 2**31):
        raise ConfigError("top_k must be a whole number from 1, below 2**31", received=repr(top_k), remedy="try 5")
    if targets is not None and not is_words(targets):
        raise ConfigError(
            "targets must be a list of one or more words, none with a line break",
            received=shorten(repr(targets)),
            remedy="give a list of words, or leave targets out",
        )


def is_words(targets: Sequence[str]) -> bool:
    """Whether these are words to choose from."""
    is_list = not isinstance(targets, str) and all(isinstance(word, str) for word in targets)
    return is_list and any(targets) and not any("\n" in word for word in targets)
