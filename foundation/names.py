"""Names of sections, keys and options: those that are unknown are refused with the nearest ones."""

import difflib
from collections.abc import Iterable

from foundation.errors import ConfigError


def require_known(name: str, valid: Iterable[str], where: str, kind: str, near: Iterable[str] = ()) -> None:
    """Refuses a name that isn't valid.

    Args:
        name: The name.
        valid: The names that are.
        where: Where it stands, such as "the command line has".
        kind: What is named, in the plural.
        near: Names to propose where something else than the valid ones may be meant.

    Raises:
        ConfigError: If it isn't valid.
    """
    valid = list(valid)
    if name not in valid:
        every = f"the {kind} are {', '.join(valid)}" if len(valid) < 12 else f"--help lists the {kind}"
        nearest = nearest_names(name, list(near) or valid)
        raise ConfigError(f"the {kind} must be known", received=f"{where} {name}", remedy=every + nearest)


def nearest_names(name: str, valid: Iterable[str]) -> str:
    """The names that are most like another one, in brackets to stand behind a sentence; empty where none is."""
    valid, plain = list(valid), name.lstrip("-").replace("-", "_")
    same = [each for each in valid if each.rpartition(".")[2] == plain]  # another section's, or none
    below = [each for each in valid if each.lstrip("-").startswith(f"{plain}.")]
    alike = [] if below else difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    nearest = list(dict.fromkeys([*same, *alike, *below]))[: max(3, len(below))]
    return f" (nearest: {', '.join(nearest)})" if nearest else ""
