"""What a model may be asked, over the network or in this process."""

from collections.abc import Iterable, Sequence

from foundation.errors import ConfigError
from serving.client.answers import shorten


def check_arguments(texts: str | Sequence[str], top_k: int | None, targets: Sequence[str] | None) -> list[str]:
    """Refuses impossible arguments before anything is asked.

    Returns:
        The texts as a list, one alone too.

    Raises:
        ConfigError: Naming the argument.
    """
    are_several = isinstance(texts, Iterable) and not isinstance(texts, str | bytes)
    listed: list[str] = list(texts) if are_several else [texts]  # type: ignore[list-item]
    for text in listed:
        if not isinstance(text, str):
            raise ConfigError(
                "texts must be a string or a list of strings", received=shorten(repr(text)), remedy="give strings"
            )
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or not 1 <= top_k < 2**31):
        raise ConfigError("top_k must be a whole number from 1, below 2**31", received=repr(top_k), remedy="try 5")
    if targets is not None and not is_words(targets):
        raise ConfigError(
            "targets must be a list of one or more words, not all of them empty and none with a line break",
            received=shorten(repr(targets)),
            remedy="give a list of words, or leave targets out",
        )
    return listed


def is_words(targets: Sequence[str]) -> bool:
    """Whether these are words to choose from."""
    if isinstance(targets, str) or not isinstance(targets, Iterable):
        return False
    return all(isinstance(word, str) for word in targets) and any(targets) and not any("\n" in word for word in targets)
