"""From what a user wrote to a setting's value, by the type of the setting.

The type decides how a word is read, not YAML's guess: `2e-5` is a number, which YAML takes for text, and the revision
`012` is text, which YAML takes for the number 10. Where the two could both be meant, as with `language: no`, which YAML
reads as false, the value is refused with the way to write it.
"""

import dataclasses
import difflib
import io
import math
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import yaml

TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*(_[0-9]+)*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.?(inf|nan)", re.IGNORECASE)
NULL, BOOL, TEXT, INT, FLOAT, DATE = (
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "str", "int", "float", "timestamp")
)
FIRST = "-+.0123456789"
"""What a number begins with."""
MOST_DIGITS = 300


class Loader(yaml.SafeLoader):
    """PyYAML's loader with numbers as in YAML 1.2: `2e-5` is one; `012`, `1:30` and a date are text."""


class Dumper(yaml.SafeDumper):
    """Writes what `Loader` reads, and puts text that another reader would take for a number into quotes."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (INT, FLOAT, DATE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _dialect in (Loader, Dumper):
    for _tag, _pattern in ((INT, WHOLE), (FLOAT, NUMBER), (FLOAT, NOT_FINITE)):
        _dialect.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern.pattern})$", _pattern.flags), list(FIRST))


class Unfit(ValueError):
    """A value that isn't of its setting's type.

    Args:
        why: What is wrong beyond the type; may be empty.
        nearest: What was probably meant, as it has to be written; None where nothing is near.
        item: The number of the list's item that it is about, from 1; None for the value as a whole.
    """

    def __init__(self, why: str = "", nearest: str | None = None, item: int | None = None) -> None:
        super().__init__(why)
        self.why, self.nearest, self.item = why, nearest, item


def kind_of(annotation: Any) -> str:
    """What a value of a type is, in words: "a whole number, or null"."""
    names: list[str] = []
    choices: list[str] = []
    lists: list[str] = []
    for member in members(annotation):
        if typing.get_origin(member) is Literal:
            choices += map(str, typing.get_args(member))
        elif member is bool:
            choices += ["true", "false"]
        elif typing.get_origin(member) in (tuple, list):
            lists.append(_name(member))
        elif member is not type(None):
            names.append(_name(member))
    if len(choices) > 2 and not names and type(None) not in members(annotation):
        return f"one of {', '.join(choices)}"
    names += choices
    if type(None) in members(annotation):
        names.append("null")
    names += lists
    return " or ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} or {names[-1]}"


def _name(member: Any) -> str:
    origin = typing.get_origin(member) or member
    if origin in (tuple, list):
        return f"a list of which each item is {kind_of(typing.get_args(member)[0])}"
    if dataclasses.is_dataclass(origin):
        return f"keys with values ({', '.join(field.name for field in dataclasses.fields(origin))})"
    names = {int: "a whole number", float: "a number", str: "text", dict: "keys with values"}
    return names.get(origin, "any value")


def members(annotation: Any) -> tuple[Any, ...]:
    """The types that a value may have: a union's, or the one."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def origins(annotation: Any) -> set[Any]:
    """The types that a value may have, without what they hold: `tuple` of `tuple[str, ...]`."""
    return {typing.get_origin(member) or member for member in members(annotation)}


def node_of(text: str, annotation: Any) -> yaml.Node:
    """What an argument of the command line is in YAML. Only where no text is wanted has it YAML's lists and mappings.

    Raises:
        Unfit: If it is no YAML where YAML is wanted.
    """
    kinds = origins(annotation)
    composed = kinds & {tuple, list, dict} and text.lstrip().startswith(("[", "{"))
    if Any in kinds or composed:
        try:
            return yaml.compose(text, Loader) or yaml.ScalarNode(NULL, "")
        except yaml.YAMLError as error:
            raise Unfit(" ".join(str(getattr(error, "problem", error)).split())) from error
    return yaml.ScalarNode(NULL if text == "null" else TEXT, text)


def node_of_value(value: Any) -> yaml.Node:
    """What a value of Python is in YAML. Paths, NumPy's numbers and dataclasses are taken as what they stand for.

    Raises:
        Unfit: If YAML has nothing for it.
    """
    try:
        return Dumper(io.StringIO()).represent_data(_of_yaml(value))
    except (yaml.YAMLError, RecursionError) as error:
        raise Unfit(f"{type(value).__name__} is no type of a setting") from error


def _of_yaml(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_of_yaml(key): _of_yaml(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_of_yaml(each) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _of_yaml(dataclasses.asdict(value))
    # A number of NumPy, which isn't imported for that.
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def value_of(node: yaml.Node, annotation: Any) -> Any:
    """The value of a YAML node for a setting of a type.

    Raises:
        Unfit: If it isn't of the type.
    """
    if Any in members(annotation):
        return _any(node)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, annotation)
    if isinstance(node, yaml.SequenceNode):
        return _sequence(node, annotation)
    if node.tag == NULL:
        if type(None) in members(annotation):
            return None
        raise Unfit("null can't be set here" if node.value else "there is no value")
    return _scalar(str(node.value), node.tag, annotation)


def _any(node: yaml.Node) -> Any:
    loader = Loader("")
    try:
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise Unfit(" ".join(str(getattr(error, "problem", error)).split())) from error
    finally:
        loader.dispose()


def _mapping(node: yaml.MappingNode, annotation: Any) -> Any:
    for member in members(annotation):
        if dataclasses.is_dataclass(member):
            return _dataclass(node, member)  # type: ignore[arg-type]
    for member in members(annotation):
        if (typing.get_origin(member) or member) is dict:
            of_key, of_value = typing.get_args(member) or (Any, Any)
            return {value_of(key, of_key): value_of(value, of_value) for key, value in node.value}
    raise Unfit()


def _dataclass(node: yaml.MappingNode, kind: type) -> Any:
    annotations = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    values = {}
    for key, value in node.value:
        if key.value not in names:
            raise Unfit(f"{key.value} is none of the keys {', '.join(names)}", nearest_of(str(key.value), names))
        try:
            values[key.value] = value_of(value, annotations[key.value])
        except Unfit as error:
            why = f": {error.why}" if error.why else ""
            raise Unfit(f"{key.value} must be {kind_of(annotations[key.value])}{why}", error.nearest) from error
    missing = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise Unfit(f"{missing[0]} is missing")
    return kind(**values)


def _sequence(node: yaml.SequenceNode, annotation: Any) -> Any:
    for member in members(annotation):
        origin = typing.get_origin(member)
        if origin in (tuple, list):
            kind = typing.get_args(member)[0]
            return origin(_item(each, kind, number) for number, each in enumerate(node.value, 1))
    raise Unfit("it is a list")


def _item(node: yaml.Node, kind: Any, number: int) -> Any:
    try:
        return value_of(node, kind)
    except Unfit as error:
        why = f"item {number} must be {kind_of(kind)}{f': {error.why}' if error.why else ''}"
        raise Unfit(why, error.nearest, number) from error


def _scalar(text: str, tag: str, annotation: Any) -> Any:
    kinds = origins(annotation)
    word = text.strip()
    choices = [choice for member in members(annotation) for choice in _choices(member)]
    for choice in choices:
        if word == str(choice):
            return choice
    if bool in kinds and word.lower() in TRUE + FALSE:
        return word.lower() in TRUE
    if int in kinds and WHOLE.fullmatch(word) and len(word) <= MOST_DIGITS:
        return int(word)
    if float in kinds and (NUMBER.fullmatch(word) or NOT_FINITE.fullmatch(word)):
        return float(word.replace(".inf", "inf").replace(".nan", "nan").replace(".Inf", "inf").replace(".NaN", "nan"))
    if str in kinds:
        if tag == BOOL:
            meaning = "true" if word.lower() in TRUE else "false"
            null = ", or null for none" if type(None) in kinds else ""
            raise Unfit(f"YAML reads {word} without quotes as {meaning}", f'"{word}" with the quotes{null}')
        return text
    for member in members(annotation):
        if typing.get_origin(member) in (tuple, list) and word:
            return typing.get_origin(member)([_scalar(text, tag, typing.get_args(member)[0])])
    raise Unfit("", _nearest_value(word, kinds, choices))


def _choices(member: Any) -> tuple[Any, ...]:
    return typing.get_args(member) if typing.get_origin(member) is Literal else ()


def _nearest_value(word: str, kinds: set[Any], choices: list[Any]) -> str | None:
    """What was probably meant by a word that is of no type that is wanted; None where nothing is near."""
    if type(None) in kinds and word.lower() in ("none", "nil", "nan", "off", "no", "false"):
        return "null"
    words = [*map(str, choices), *(("true", "false") if bool in kinds else ())]
    if bool in kinds and word.lower() in ("1", "0", "y", "n", "t", "f"):
        return "true" if word.lower() in ("1", "y", "t") else "false"
    if (found := nearest_of(word, words)) is not None:
        return found
    if kinds & {int, float} and (number := _number_in(word)) is not None and math.isfinite(number):
        if float in kinds:
            return f"{number:g}"
        return str(round(number)) if round(number) else None
    return None


def _number_in(word: str) -> float | None:
    """The number that a word begins with: 0.5 of `0,5`, 0.5 of `50%`, 12 of `012`, 0.0001 of `1e-4x`."""
    plain = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", word.replace(",", ".", 1))
    found = NUMBER.match(plain)
    if found is None or ":" in word or re.match(r"[0-9]+[x-][0-9]", word):
        return None
    return float(found[0]) / (100 if plain[found.end() :] == "%" else 1)


def nearest_of(word: str, words: Iterable[str]) -> str | None:
    """The word that is most like another one, whatever their case; None where none is."""
    by_lower = {each.lower(): each for each in words}
    found = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None
