"""The command line over a configuration file: an option for each setting."""

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docstring_parser import parse as parse_docstring

from components.config.config_files import read_config
from components.config.filling import Merged, fill, params_of
from components.config.pipeline_config import QUICKSTART, Config
from components.config.sections import KEYS, SECTIONS, default_of
from components.config.settings import Setting, as_typed, plain
from components.config.values import kind_of, nearest_of, origins
from foundation.errors import ConfigError
from foundation.names import require_known


def add_sections(parser: argparse.ArgumentParser) -> None:
    """Gives a parser's help an option `--<section>.<key>` for every key of every section."""
    for section, params in SECTIONS.items():
        docstring = parse_docstring(params.__doc__ or "")
        group = parser.add_argument_group(section, docstring.short_description)
        texts = {each.arg_name: each.description for each in docstring.params}
        for field in dataclasses.fields(params):
            key = f"{section}.{field.name}"
            text = f"{' '.join((texts.get(field.name) or '').split())} ({kind_and_default(key)})"
            group.add_argument(
                f"--{key}",
                metavar=field.name.upper(),
                default=argparse.SUPPRESS,
                help=text.replace("%", "%%"),
            )


def kind_and_default(key: str) -> str:
    """What a setting's value is, and its default, in words."""
    value = default_of(key)
    return f"{kind_of(KEYS[key])}; default: {'none' if value in ((), {}, []) else plain(value)}"


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str], path: Path) -> argparse.Namespace:
    """Fills the settings from a YAML file, then from the command line, and a parser's other options.

    Settings of the file that belong to a source or a model don't apply where the command line names another one.

    Args:
        parser: A parser with the sections, and with whatever other options its program takes.
        arguments: The command line without the program's name.
        path: The YAML file.

    Returns:
        The other options, and beside them `settings`, by section and key, and `notes`, a sentence for each change that
        a user may not expect.

    Raises:
        ConfigError: For an unknown key, with the nearest valid names, or a value of the wrong type.
    """
    file = read_config(path)
    others, typed = _split(parser, arguments)
    options = _parse_others(parser, others)
    root = str(getattr(options, "root", ""))
    # Names of runs in a root that is not on this machine are looked up when it is open.
    options.settings, options.notes = fill(file, typed, None if "://" in root else Path(root))
    return options


def config_of(options: argparse.Namespace) -> Config:
    """The settings of a parsed command line as the steps' params.

    Raises:
        ConfigError: For a value that breaks a rule, with the file and line where it was set.
    """
    return Config(**params_of(options.settings), configuration=getattr(options, "config", QUICKSTART))


def _split(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[list[str], dict[str, Setting]]:
    """The arguments that are no settings, and the settings."""
    known = [option for action in parser._actions for option in action.option_strings]
    others: list[str] = []
    typed: dict[str, Setting] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*others, argument, *rest], typed
        option, equals, text = argument.partition("=")
        key, of_dictionary = _key_of(option)
        if key is None:
            if option.startswith("--") or (option.startswith("-") and option not in known):
                require_known(option, known, "the command line has", "options")
            others.append(argument)
            continue
        if not equals:
            # A value may begin with a dash: -1e-5, or a sentence. Only another option isn't one.
            if not rest or (rest[0].startswith("--") and rest[0].partition("=")[0] in known):
                raise ConfigError(
                    f"{key} must be {kind_of(KEYS[key])}",
                    received=f"{option} without a value",
                    remedy="write a value behind it, or leave it out",
                )
            text = rest.pop(0)
        if of_dictionary:
            one = {of_dictionary: as_typed(option.removeprefix("--"), text, Any).value}
            had = typed.get(key)
            kind = Merged if had is None or isinstance(had, Merged) else Setting
            typed[key] = kind({**(had.value if had and had.value else {}), **one})
        else:
            typed[key] = as_typed(key, text, KEYS[key])
    return others, typed


def _key_of(option: str) -> tuple[str | None, str]:
    """The setting that an option sets, None for no setting, and the key within it, where it sets one of many."""
    name = option.removeprefix("--")
    if not option.startswith("--"):
        return None, ""
    if name in KEYS:
        return name, ""
    section, _, rest = name.partition(".")
    key, _, within = rest.partition(".")
    whole = f"{section}.{key}"
    return (whole, within) if within and dict in origins(KEYS.get(whole)) else (None, "")


def _parse_others(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    try:
        options, stray = parser.parse_known_args(arguments)
        if stray:
            raise _stray(stray)
        return options
    except argparse.ArgumentError as error:
        named = (each for each in parser._actions if "/".join(each.option_strings) == error.argument_name)
        raise _refused_argument(error, next(named, None), arguments) from error


def _stray(values: Sequence[str]) -> ConfigError:
    """The error of values that follow no option, such as the files that a shell made of a glob."""
    if len(values) == 1 and os.path.exists(values[0]):
        remedy = f"write --ingest.path {values[0]} if that is your text, --config {values[0]} if it is a configuration"
    else:
        remedy = "write the option before each value, and a value with blanks, or a glob, in quotes: 'texts/*.txt'"
    return ConfigError(
        "the command line must be options with their values",
        received=f"{' '.join(values[:3])}{' …' if len(values) > 3 else ''}, behind no option, or a second value",
        remedy=remedy,
    )


def _refused_argument(
    error: argparse.ArgumentError, action: argparse.Action | None, arguments: list[str]
) -> ConfigError:
    """Argparse's error in our words."""
    option = error.argument_name or "the command line"
    if action is None or not action.choices:
        rule = f"{option} must have its value"
        if action is not None and action.type is int:
            rule = f"{option} must be a whole number"
        given = _values_of(option, arguments)
        received = f"{option} {' '.join(given)}" if given else f"{option} without a value"
        return ConfigError(rule, received=received, remedy="see --help")
    choices = list(map(str, action.choices))
    wrong = next((each for each in _values_of(option, arguments) if each not in choices), None)
    nearest = nearest_of(wrong, choices) if wrong is not None else None
    return ConfigError(
        f"{option} must be {'one of ' if len(choices) > 1 else ''}{', '.join(choices)}",
        received=f"{option} {wrong}" if wrong is not None else f"{option} without a value",
        remedy=f"write {option} {nearest}" if nearest else f"write {option} {choices[0]}, say",
    )


def _values_of(option: str, arguments: Sequence[str]) -> list[str]:
    values: list[str] = []
    reading = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("--"):
            reading = name == option
            values += [value] if reading and equals else []
        elif reading:
            values.append(argument)
    return values
