"""A setting: a value, and where it was set, so that an error can say so."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.config.sections import KEYS, default_of
from components.config.values import Unfit, kind_of, node_of, node_of_value, origins, value_of
from foundation.errors import ConfigError

LONGEST_SHOWN = 80


@dataclasses.dataclass(frozen=True)
class Setting:
    """The value of a setting, and its place.

    Attributes:
        value: The value, of the setting's type.
        place: The file and line, such as "job.yaml, line 3"; empty for the command line.
    """

    value: Any
    place: str = ""


def as_setting(key: str, node: yaml.Node, path: Path, line: int) -> Setting:
    """The setting that a configuration file has in a line.

    Raises:
        ConfigError: If the value isn't of the setting's type.
    """
    place = f"{path}, line {line}"
    try:
        return Setting(value_of(node, KEYS[key]), place)
    except Unfit as error:
        name = key.partition(".")[2]
        default = f"leave it out for its default, {plain(default_of(key))}"
        raise _refused(key, KEYS[key], f"{place}: {name}: {as_written(node)}", f"{name}: ", default, error) from error


def as_typed(option: str, text: str, annotation: Any) -> Setting:
    """The setting that an option of the command line has.

    Args:
        option: The option without its dashes: `train.epochs`, or `train.model_config.hidden_size` for a key of one.
        text: Its value as typed.
        annotation: The type of the value.

    Raises:
        ConfigError: If the value isn't of the type.
    """
    try:
        return Setting(value_of(node_of(text, annotation), annotation))
    except Unfit as error:
        received = f"--{option} {_shortened(text)!r}" if not text.strip() else f"--{option} {_shortened(text)}"
        raise _refused(option, annotation, received, f"--{option} ", "leave it out", error) from error


def as_given(key: str, value: Any, annotation: Any) -> Setting:
    """The setting that a program gives as a value of Python.

    Args:
        key: The setting, such as `train.epochs`, or `train.model_config.hidden_size` for a key of one.
        value: Its value.
        annotation: The type of the value.

    Raises:
        ConfigError: If the value isn't of the type.
    """
    try:
        if isinstance(value, bool) and not {bool, Any} & origins(annotation):
            raise Unfit()
        return Setting(value_of(node_of_value(value), annotation))
    except Unfit as error:
        section, _, name = key.partition(".")
        received = f"{section}={{{name!r}: {_shortened(repr(value))}}}"
        raise _refused(key, annotation, received, "", "leave it out", error) from error


def _refused(key: str, annotation: Any, received: str, written: str, without: str, error: Unfit) -> ConfigError:
    why = f" ({error.why})" if error.why else ""
    if error.nearest is not None:
        remedy = (
            f"write {written}{error.nearest}" if error.item is None else f"write item {error.item} as {error.nearest}"
        )
    elif error.item is not None:
        remedy = f"correct item {error.item}"
    elif key in KEYS:
        remedy = f"see --help, or {without}"
    else:
        remedy = "write a value of YAML"
    return ConfigError(f"{key} must be {kind_of(annotation)}", received=received + why, remedy=remedy)


def as_written(node: yaml.Node) -> str:
    """What a file has for a node, shortened to a line."""
    if isinstance(node, yaml.ScalarNode):
        quote = node.style if node.style in ("'", '"') else ""
        return _shortened(f"{quote}{node.value}{quote}" or "nothing")
    text = str(node.start_mark.buffer or "")[node.start_mark.index : node.end_mark.index] if node.start_mark else ""
    return _shortened(text) or ("a list" if isinstance(node, yaml.SequenceNode) else "keys with values")


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def plain(value: Any) -> str:
    """A value as it is written in a configuration or after an option."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(repr, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def with_places(error: ConfigError, settings: Mapping[str, Setting]) -> ConfigError:
    """The error of a value that breaks a rule, with the file and line of each setting that its rule names."""
    named = dict.fromkeys(re.findall(r"\b[a-z]+\.[a-z0-9_]+\b", f"{error.rule} {error.received}"))
    places = [settings[key].place for key in named if key in settings and settings[key].place]
    if not places:
        return error
    received = f"{error.received.removesuffix('.')} ({'; '.join(dict.fromkeys(places))})"
    return type(error)(error.rule, received=received, remedy=error.remedy)
