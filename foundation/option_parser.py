"""A command line's parser, whose errors are the pipeline's own: one message, and not argparse's usage before it."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from foundation.errors import ConfigError
from foundation.names import require_known

KINDS = {int: "a whole number", float: "a number"}
"""What a value must be, by the type that reads it."""
LONGEST_SHOWN = 100
"""How many characters of what was received an error shows."""


class OptionParser(argparse.ArgumentParser):
    """argparse's parser, whose options must be written in full, and whose errors are `ConfigError`s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False, exit_on_error=False)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Parses a whole command line.

        Raises:
            ConfigError: For an unknown option, a value that is missing or of the wrong type, or too many of them.
        """
        try:
            options, stray = self.parse_known_args(args, namespace)
        except argparse.ArgumentError as error:
            raise self._refused(error) from None
        if stray:
            self._refuse_stray(stray)
        return options

    def error(self, message: str) -> NoReturn:
        """Raises what argparse would print with the usage before it exits.

        Raises:
            ConfigError: Always.
        """
        # "one of the arguments --a --b is required", "the following arguments are required: --a, --b"
        one_of, of_one, _ = message.removeprefix("one of the arguments ").partition(" is required")
        _, every_of, required = message.partition("arguments are required: ")
        rule, remedy = "the command line must be options with their values", "see --help"
        if of_one:
            rule, message = f"{' or '.join(one_of.split())} must be given", "none of them"
        elif every_of:
            rule, message = f"{required} must be given", "a command line without"
            remedy = "add it, behind a -- where it begins with a dash; see --help"
        raise ConfigError(rule, received=message, remedy=remedy)

    def _refused(self, error: argparse.ArgumentError) -> ConfigError:
        """Argparse's error about one option in our words."""
        name, message = error.argument_name, error.message
        action = next((each for each in self._actions if argparse._get_action_name(each) == name), None)
        # "not allowed with argument --a", "ignored explicit argument 'x'", "invalid int value: 'x'", "expected one …"
        _, both, other = message.partition("not allowed with argument ")
        received = message.rpartition(" value: ")[2].removeprefix("ignored explicit argument ")
        rule, remedy = "the command line must be options with their values", "see --help"
        if both:
            rule, received, remedy = f"{name} and {other} must not be given together", "both", "give one"
        elif action is not None and action.nargs == 0:
            rule, remedy = f"{name} must have no value", f"write {name} alone"
        elif action is not None:
            kind = KINDS.get(action.type) if isinstance(action.type, type) else None
            rule = f"{name} must be {kind}" if kind else f"{name} must have its value"
            if action.default is not None:
                remedy = f"leave {name} out for its default"
        if message.startswith("expected"):
            received = f"{name} without a value"
        return ConfigError(rule, received=received[:LONGEST_SHOWN], remedy=remedy)

    def _refuse_stray(self, words: Sequence[str]) -> NoReturn:
        """Raises the error of options that nobody knows, and of values behind no option."""
        word = words[0]
        if word.startswith("-") and word != "--":
            known = [option for action in self._actions for option in action.option_strings]
            require_known(word.partition("=")[0], known, "the command line has", "options")
        shown = " ".join(words[:3]) + (" …" if len(words) > 3 else "")
        raise ConfigError(
            "the command line must be options with their values",
            received=f"{shown}, behind no option, or a second value",
            remedy="write the option before each value, and a value with blanks in quotes; see --help",
        )
