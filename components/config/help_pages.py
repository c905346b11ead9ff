"""What --help shows: a page with the commonest options, and every option of a step where that is asked for."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence

from docstring_parser import parse as parse_docstring

from components.config.sections import KEYS, RUNNERS, SECTIONS, STEPS
from foundation.errors import ConfigError
from foundation.names import nearest_names
from foundation.terminal import TERMINAL, columns_of, is_terminal
from foundation.terminal.layout import cell_len, padded, wrapped
from foundation.terminal.streams import DEFAULT_COLUMNS

EVERYTHING = "all"
COMMONEST = (
    *("ingest.path", "ingest.dataset", "tokenizer.pretrained", "preprocess.text_column", "preprocess.block_size"),
    *("train.pretrained", "train.model_type", "train.epochs", "train.batch_size", "push.hub_model_id"),
)
"""The settings that most people set, in the order of the steps."""
LEAST_COLUMNS, MOST_COLUMNS = 30, 100
LEFT = 0.35
"""The most of a line that names may take, before their texts."""


def topic_of(arguments: Sequence[str]) -> str | None:
    """What help is asked for: "" for the page, a step or an option; None where none is asked for."""
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in ("-h", "--help"):
            following = arguments[place + 1] if place + 1 < len(arguments) else ""
            return value if equals else "" if following.startswith("-") else following
        if argument == "--":
            return None
    return None


def help_text(parser: argparse.ArgumentParser, topic: str, configs: Mapping[str, str], columns: int) -> str:
    """The help about a topic.

    Args:
        parser: Has every option.
        topic: What `topic_of` found.
        configs: The configurations that come along, with what each is for.
        columns: The width to fill.

    Raises:
        ConfigError: If there is nothing about it.
    """
    columns = min(max(columns, LEAST_COLUMNS), MOST_COLUMNS)
    if topic == "":
        return "\n".join(_page(parser, configs, columns))
    if topic == EVERYTHING:
        return "\n\n".join(
            ["\n".join(_general(parser, columns)), *("\n".join(_step(each, columns)) for each in SECTIONS)]
        )
    if topic in SECTIONS:
        return "\n".join(_step(topic, columns))
    if topic in KEYS:
        return "\n".join(_entries([(f"--{topic}", _about(topic))], columns))
    topics = [*SECTIONS, EVERYTHING]
    raise ConfigError(
        f"--help must stand alone, or before a step, a setting or {EVERYTHING}",
        received=f"--help {topic}",
        remedy=f"give one of {', '.join(topics)}, or a setting such as train.epochs"
        + nearest_names(topic, [*topics, *KEYS]),
    )


def _page(parser: argparse.ArgumentParser, configs: Mapping[str, str], columns: int) -> Iterator[str]:
    for line in parser.format_usage().rstrip().split("\n"):
        yield from wrapped(line, columns, min(9, columns // 4))
    yield ""
    yield from wrapped((parser.description or "").split("\n")[0], columns, 0)
    yield from ("", "The steps, in order:")
    yield from _entries([(name, _first_sentence(_subject(name))) for name in STEPS], columns)
    yield from ("", "Runners beyond this machine:")
    yield from _entries([(name, _first_sentence(_subject(name))) for name in RUNNERS], columns)
    yield from ("", "The commonest settings:")
    yield from _entries([(f"--{key}", _first_sentence(_text(key))) for key in COMMONEST], columns)
    yield ""
    yield from _general(parser, columns)
    yield from ("", "Configurations, for --config:")
    yield from _entries(list(configs.items()), columns)
    yield ""
    yield from wrapped(
        f"--help STEP explains all settings of a step or runner, as --help train does; --help {EVERYTHING} all.",
        columns,
        0,
    )


def _general(parser: argparse.ArgumentParser, columns: int) -> Iterator[str]:
    """The options that are no settings."""
    yield "Options:"
    entries = []
    for action in parser._actions:
        if action.help != argparse.SUPPRESS and not action.dest.partition(".")[2]:
            value = action.metavar or (
                f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper()
            )
            if action.choices and action.dest in ("until", "force"):
                value = "STEP"
            values = "" if action.nargs == 0 else f" {value} {value}" if action.nargs == 2 else f" {value}"
            entries.append((f"{', '.join(action.option_strings)}{values}", (action.help or "").replace("%%", "%")))
    yield from _entries(entries, columns)


def _step(name: str, columns: int) -> Iterator[str]:
    """All settings of a step."""
    yield from wrapped(f"{name}: {_subject(name)}", columns, 2)
    yield from _entries([(f"--{key}", _about(key)) for key in KEYS if key.startswith(f"{name}.")], columns)


def _entries(entries: Sequence[tuple[str, str]], columns: int) -> Iterator[str]:
    """Names, and beside each its text; a name that is too long for that has its text below."""
    most = int(columns * LEFT)
    left = min(max((cell_len(name) for name, _ in entries), default=0), most) + 4
    for name, text in entries:
        if cell_len(name) + 4 > left:
            yield f"  {name}"
            yield from wrapped(" " * left + text, columns, left)
        else:
            yield from wrapped(padded(f"  {name}", left) + text, columns, left)


def _subject(section: str) -> str:
    return parse_docstring(SECTIONS[section].__doc__ or "").short_description or ""


def _text(key: str) -> str:
    """What a setting is, as the docstring of its section says."""
    section, _, name = key.partition(".")
    params = parse_docstring(SECTIONS[section].__doc__ or "").params
    return next((" ".join((each.description or "").split()) for each in params if each.arg_name == name), "")


def _about(key: str) -> str:
    from components.config.command_line import kind_and_default

    return f"{_text(key)} ({kind_and_default(key)})"


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].split("; ")[0].rstrip(".") + "."


def answer_about_options(parser: argparse.ArgumentParser, arguments: Sequence[str], configs: Mapping[str, str]) -> bool:
    """Prints help or a completion script where the command line asks for that; whether it did.

    Raises:
        ConfigError: If there is no such help, or no such shell.
    """
    from components.config.completion import script_for, shell_of

    topic, shell = topic_of(arguments), shell_of(arguments)
    if topic is not None:
        columns = columns_of(sys.stdout) if is_terminal(sys.stdout) else DEFAULT_COLUMNS
        TERMINAL.line(help_text(parser, topic, configs, columns))
    elif shell is not None:
        TERMINAL.line(script_for(shell, parser, configs))
    return topic is not None or shell is not None
