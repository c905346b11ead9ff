"""The settings of a configuration from its two layers: a file's, and what is set over them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.config.layers import drop_replaced
from components.config.places import name_places
from components.config.sections import KEYS, SECTIONS, default_of
from components.config.settings import Setting, with_places
from foundation.errors import ConfigError


class Merged(Setting):
    """Single keys of a setting that holds keys with values, which are set beside the file's."""


def fill(
    file: Mapping[str, Setting], typed: Mapping[str, Setting], root: Path | None
) -> tuple[dict[str, Setting], list[str]]:
    """Sets settings over a file's.

    Settings of the file that belong to a source or a model don't apply where another one is set over them.

    Args:
        file: The settings of a configuration file, by section and key.
        typed: The settings of a command line, or of a program.
        root: The pipeline root, whose runs may be named in place of checkpoints. None leaves all names as they are,
            for `name_places` to write later.

    Returns:
        The settings, by section and key, and a sentence for each change that a user may not expect.

    Raises:
        ConfigError: If settings contradict each other.
    """
    settings = {**file, **typed}
    for key in file.keys() & typed.keys():
        if isinstance(typed[key], Merged):
            settings[key] = Setting({**(file[key].value or {}), **typed[key].value})
    values = {key: settings[key].value if key in settings else default_of(key) for key in KEYS}
    before = dict(values)
    try:
        notes = drop_replaced(values, layer_of(file), layer_of(typed))
        if root is not None:
            notes += name_places(values, root)
    except ConfigError as error:
        raise with_places(error, settings) from error
    # What was changed on behalf of another setting has no place of its own.
    filled = {key: setting for key, setting in settings.items() if before[key] is values[key]}
    return filled | {key: Setting(value) for key, value in values.items() if before[key] is not value}, notes


def layer_of(settings: Mapping[str, Setting]) -> dict[str, dict[str, Any]]:
    """The values of settings as sections with keys."""
    layer: dict[str, dict[str, Any]] = {}
    for key, setting in settings.items():
        section, _, name = key.partition(".")
        layer.setdefault(section, {})[name] = setting.value
    return layer


def params_of(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The settings as the steps' params, by section.

    Raises:
        ConfigError: For a value that breaks a rule, with the file and line where it was set.
    """
    values = layer_of(settings)
    try:
        return {section: params(**values.get(section, {})) for section, params in SECTIONS.items()}
    except ConfigError as error:
        raise with_places(error, settings) from error
