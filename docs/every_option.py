"""Every option, from the classes and parsers that define them, as Markdown."""

import argparse
import dataclasses
from collections.abc import Iterator
from typing import Any

from docstring_parser import parse as parse_docstring

from components.config.sections import KEYS, SECTIONS
from components.config.settings import plain
from components.config.values import kind_of
from serving.client.__main__ import make_parser as make_client_parser
from serving.server.options import make_parser as make_server_parser

MARK = "<!-- every option -->"
"""Stands in the page where the options go."""


def every_option() -> str:
    """The steps' settings, then the options of the server and of the client."""
    parts = [*_settings()]
    parts += [*_parser("The server: `python -m serving`", make_server_parser())]
    parts += [*_parser("The client: `python -m serving.client`", make_client_parser())]
    return "\n\n".join(parts)


def _settings() -> Iterator[str]:
    for section, params in SECTIONS.items():
        docstring = parse_docstring(params.__doc__ or "")
        helps = {each.arg_name: " ".join((each.description or "").split()) for each in docstring.params}
        yield f"## {section}\n\n{docstring.short_description}"
        for field in dataclasses.fields(params):
            key = f"{section}.{field.name}"
            yield f"### `--{key}`\n\n{_text(helps[field.name])}\n\n{_type_and_default(key, field)}"


def _type_and_default(key: str, field: dataclasses.Field[Any]) -> str:
    made = field.default_factory
    value = field.default if made is dataclasses.MISSING else made()
    default = "none" if value in ((), {}, []) else f"`{plain(value)}`"
    return f"Type: {_text(kind_of(KEYS[key]))}. Default: {default}."


def _parser(title: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    yield f"## {title}\n\n{_text(parser.description or '')}"
    for action in parser._actions:
        if action.help in (None, argparse.SUPPRESS) or "--help" in action.option_strings:
            continue
        shown = formatter._format_args(action, action.metavar or action.dest.upper())
        names = ", ".join(action.option_strings)
        yield f"### `{f'{names} {shown}'.strip()}`\n\n{_text(_sentence(formatter._expand_help(action)))}"


def _text(text: str) -> str:
    """A help text as Markdown, in which only what stands between backticks is code."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        for sign in "\\*_<[":
            parts[place] = parts[place].replace(sign, f"\\{sign}")
    return "`".join(parts)


def _sentence(text: str) -> str:
    """A help text that begins with a capital letter and ends with a stop."""
    text = " ".join(text.split())
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
