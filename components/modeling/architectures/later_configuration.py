"""Configurations that only transformers 5 has a class for, as it and the authors' own code write them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from foundation.errors import ModelError


def as_it_is(written: dict[str, Any]) -> dict[str, Any]:
    """What is written as transformers 5 has it."""
    return written


@dataclasses.dataclass(frozen=True)
class LaterConfiguration:
    """The configuration of an architecture for which transformers 4 has no class.

    Attributes:
        defaults: transformers 5's values of what a `config.json` lacks, by its names.
        read: Brings what a `config.json` says into transformers 5's form, or refuses it by a `ModelError`. It may
            change what it is given.
        other_types: Other names of the architecture in a `config.json`.
    """

    defaults: Mapping[str, Any]
    read: Callable[[dict[str, Any]], dict[str, Any]] = as_it_is
    other_types: tuple[str, ...] = ()


def with_rope_parameters(written: dict[str, Any], theta: float) -> dict[str, Any]:
    """A configuration whose rotary positions are written as transformers 5 does.

    Args:
        written: With `rope_parameters`, or `rope_theta` and `rope_scaling` as before transformers 5; it is changed.
        theta: The base of the wavelengths where nothing says it.
    """
    before = {"rope_type": "default", **(written.pop("rope_scaling", None) or {})}
    before["rope_type"] = before.pop("type", before["rope_type"])
    before["rope_theta"] = written.pop("rope_theta", None) or theta
    return {**written, "rope_parameters": {**before, **(written.get("rope_parameters") or {})}}


def require_only(written: dict[str, Any], model_type: str, **known: tuple[Any, ...]) -> None:
    """Takes options out of a configuration that have no counterpart here, and refuses other values of them.

    Args:
        written: The configuration; it is changed.
        model_type: The architecture.
        known: The values that are refused by nobody, by the name of the option; none for any.

    Raises:
        ModelError: Naming the option, its value and those there are.
    """
    for name, values in known.items():
        value = written.pop(name, None)
        if value is not None and values and value not in values:
            raise ModelError(
                f"{name} of a {model_type} must be {' or '.join(map(repr, values))}: nothing else is supported",
                received=repr(value),
                remedy="use another checkpoint, or train and serve this one with PyTorch",
            )
