"""Scripts that let a shell complete the command line: options, steps, configurations and choices.

A script holds all of it, so that completing starts no Python.
"""

import argparse
import dataclasses
import re
import shlex
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from components.config.sections import KEYS, SECTIONS
from components.config.values import members
from foundation.errors import ConfigError

SHELLS = ("bash", "zsh", "fish")
PROGRAMS = ("masked-lm-pipeline", "pipeline.py")
"""The commands that are completed."""
PATHS = {
    "config",
    "root",
    "ingest.path",
    "ingest.test_path",
    "push.serving_dir",
    "train.pretrained",
    "tokenizer.pretrained",
}
"""The options whose value may be a file or a directory."""


@dataclasses.dataclass(frozen=True)
class Option:
    """An option, as a shell completes it.

    Attributes:
        name: With its dashes.
        text: What it is for, in one sentence.
        values: What its value may be; empty where anything may.
        takes_value: Whether a value follows.
        takes_path: Whether the value may be a file or a directory.
        takes_several: Whether further values may follow.
    """

    name: str
    text: str
    values: tuple[str, ...] = ()
    takes_value: bool = True
    takes_path: bool = False
    takes_several: bool = False


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Gives a parser the option that prints a script."""
    parser.add_argument("--completion", metavar="SHELL", help="Print a completion script for bash, zsh or fish.")


def shell_of(arguments: Sequence[str]) -> str | None:
    """The shell that a script is asked for; None where none is.

    Raises:
        ConfigError: If it is another one.
    """
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option == "--completion":
            shell = value if equals else next(iter(arguments[place + 1 : place + 2]), "")
            if shell not in SHELLS:
                raise ConfigError(
                    f"--completion must be one of {', '.join(SHELLS)}",
                    received=f"--completion {shell}".rstrip(),
                    remedy=f"write --completion {SHELLS[0]}, say",
                )
            return shell
    return None


def script_for(shell: str, parser: argparse.ArgumentParser, configs: Mapping[str, str]) -> str:
    """The script that makes a shell complete the command line of a parser.

    Args:
        shell: One of `SHELLS`.
        parser: Has every option.
        configs: The configurations that come along.
    """
    options = list(_options(parser, tuple(configs)))
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](options)


def _options(parser: argparse.ArgumentParser, configs: tuple[str, ...]) -> Iterator[Option]:
    from components.modeling.architectures.records import ARCHITECTURES  # only here, so that --help is quick

    values: dict[str, tuple[str, ...]] = {
        "config": configs,
        "help": (*SECTIONS, "all"),
        "completion": SHELLS,
        "train.model_type": tuple(ARCHITECTURES),
    }
    for action in parser._actions:
        name = action.option_strings[-1]
        choices = values.get(action.dest) or tuple(map(str, action.choices or ()))
        if action.dest in KEYS and not choices:
            choices = _choices(KEYS[action.dest])
        # A sentence is enough, without what shells would take for more than text.
        text = re.sub(r"[^\w ,.()+/'&-]", "", (action.help or "").split(". ")[0].split("; ")[0])
        yield Option(name, text.rstrip("."), choices, action.nargs != 0, action.dest in PATHS, action.nargs == "+")


def _choices(annotation: Any) -> tuple[str, ...]:
    """The values that a setting's type names."""
    found: list[str] = []
    for member in members(annotation):
        if typing.get_origin(member) is Literal:
            found += map(str, typing.get_args(member))
        elif member is bool:
            found += ["true", "false"]
    return tuple(found)


def _cases(options: Sequence[Option], words: Callable[[Sequence[str]], str], files: str) -> Iterator[str]:
    """Of a shell's `case`, a branch for each option with a value; bash and zsh write both in the same way."""
    for option in options:
        if option.takes_value:
            offered = [words(option.values)] if option.values else []
            offered += [files] if option.takes_path else []
            yield f"    {option.name}) {'; '.join([*offered, 'return'])} ;;"


def _several(options: Sequence[Option]) -> str:
    """The options several of whose values are completed, as bash and zsh write a pattern."""
    return "|".join(option.name for option in options if option.takes_several and option.values)


def _bash(options: Sequence[Option]) -> str:
    cases = "\n".join(_cases(options, lambda words: f"_masked_lm_offer '{' '.join(words)}'", "_masked_lm_offer_files"))
    names = " ".join(option.name for option in options)
    return f"""# Completion for bash. In ~/.bashrc: source <({PROGRAMS[0]} --completion bash)
_masked_lm_pipeline() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" option="${{COMP_WORDS[COMP_CWORD-1]}}" place
  COMPREPLY=()
  # Readline cuts a word at "=": in --until=train, the option is two words back.
  if [[ $word == "=" ]]; then word=""; elif [[ $option == "=" ]]; then option="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
  # Some options take several values.
  for ((place = COMP_CWORD - 1; place > 0; place--)); do
    case "${{COMP_WORDS[place]}}" in
    {_several(options)}) [[ $word == -* ]] || option="${{COMP_WORDS[place]}}"; break ;;
    -*) break ;;
    esac
  done
  _masked_lm_offer() {{ mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -W "$1" -- "$word"); }}
  _masked_lm_offer_files() {{
    compopt -o filenames
    mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -f -- "$word")
  }}
  case "$option" in
{cases}
  esac
  _masked_lm_offer '{names}'
}}
complete -F _masked_lm_pipeline {" ".join(PROGRAMS)}"""


def _zsh(options: Sequence[Option]) -> str:
    cases = "\n".join(_cases(options, lambda words: f"compadd -- {shlex.join(words)}", "_files"))
    names = "\n".join(f"    {shlex.quote(f'{option.name}:{option.text}')}" for option in options)
    return f"""#compdef {" ".join(PROGRAMS)}
# Completion for zsh. In ~/.zshrc, after compinit: source <({PROGRAMS[0]} --completion zsh)
_masked_lm_pipeline() {{
  local option="${{words[CURRENT-1]}}" place
  # Some options take several values.
  for ((place = CURRENT - 1; place > 1; place--)); do
    case "${{words[place]}}" in
    {_several(options)}) [[ $PREFIX == -* ]] || option="${{words[place]}}"; break ;;
    -*) break ;;
    esac
  done
  if [[ $PREFIX == --*=* ]]; then option="${{PREFIX%%=*}}"; compset -P '*='; fi
  case "$option" in
{cases}
  esac
  local -a options=(
{names}
  )
  _describe option options
}}
compdef _masked_lm_pipeline {" ".join(PROGRAMS)}"""


def _fish(options: Sequence[Option]) -> str:
    lines = [f"# Completion for fish: {PROGRAMS[0]} --completion fish | source"]
    for program in PROGRAMS:
        lines.append(f"complete -c {program} -f")
        for option in options:
            # -x: a value follows, and no file.
            flags = f"-l {option.name.removeprefix('--')}"
            flags += " -r -F" if option.takes_path else " -x" if option.takes_value else ""
            values = f" -a {shlex.quote(' '.join(option.values))}" if option.values else ""
            text = f"-d {shlex.quote(option.text)}"
            lines.append(f"complete -c {program} {flags}{values} {text}")
            if option.takes_several and values:
                further = shlex.quote(f"string match -qr -- '{option.name}( +[a-z]+)+ +[a-z]*$' (commandline -cp)")
                lines.append(f"complete -c {program} -n {further}{values} {text}")
    return "\n".join(lines)
