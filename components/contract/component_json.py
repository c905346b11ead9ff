"""A component as JSON: what a process needs to be told to run a step, wherever it is."""

import dataclasses
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contract.component import Component
from foundation.errors import PipelineError

CLASS, PATH, TUPLE = "$class", "$path", "$tuple"
"""The keys that stand for what JSON lacks: a dataclass by `module:name`, a path, a tuple."""


def as_json(component: Component[Any]) -> str:
    """A component with its input artifacts' paths and its params, as one line of JSON.

    Args:
        component: Every field of it is an artifact, a dataclass, a path, or what JSON has.

    Raises:
        TypeError: If a field is something else, such as a function.

    Example:
        >>> told = as_json(Preprocess(corpus, tokenizer, PreprocessParams(block_size=64)))
        >>> from_json(told).run(Path("blocks"))
    """
    return json.dumps(_as_plain(component), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(text: str) -> Component[Any]:
    """The component that `as_json` wrote.

    Raises:
        PipelineError: If this program has no such component, or one with other fields.
    """
    try:
        component = _from_plain(json.loads(text))
        if not isinstance(component, Component):
            raise TypeError(f"it says {type(component).__name__}")
    except (ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
        raise PipelineError(
            "a step must be told as JSON by the same version of the program as runs it",
            received=f"{text[:200]}{'…' if len(text) > 200 else ''}, which is no component here: {error}",
            remedy="install the version here that the command is given with, such as by building the image anew",
        ) from error
    return component


def _as_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {CLASS: f"{type(value).__module__}:{type(value).__qualname__}", **fields}
    if isinstance(value, Path):
        return {PATH: str(value)}
    if isinstance(value, tuple):
        return {TUPLE: [_as_plain(each) for each in value]}
    if isinstance(value, list):
        return [_as_plain(each) for each in value]
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) or key.startswith("$") for key in value):
            raise TypeError(f"a mapping must have texts that don't begin with $ as its keys: {value!r}")
        return {key: _as_plain(each) for key, each in value.items()}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{type(value).__name__} can't be told to another process: {value!r}")


def _from_plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_plain(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    if PATH in value:
        return Path(value[PATH])
    if TUPLE in value:
        return tuple(_from_plain(each) for each in value[TUPLE])
    fields = {key: _from_plain(each) for key, each in value.items() if key != CLASS}
    if CLASS not in value:
        return fields
    module, _, name = value[CLASS].partition(":")
    kind = importlib.import_module(module)
    for part in name.split("."):
        kind = getattr(kind, part)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise TypeError(f"{value[CLASS]} is no dataclass")
    return kind(**fields)
