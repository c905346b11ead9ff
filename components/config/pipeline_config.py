"""The configuration of a whole pipeline: one section a step, filled from YAML and the command line.

The steps' own dataclasses alone define names, types, defaults and help.
"""

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from components.config.layers import drop_replaced
from components.evaluation.params import EvaluateParams
from components.export import ExportParams
from components.ingest import IngestParams
from components.preprocess import PreprocessParams
from components.publishing.params import PushParams
from components.tokenizers.params import TokenizerParams
from components.training.params import TrainParams
from components.validate import ValidateParams
from foundation.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclasses.dataclass(frozen=True)
class Config:
    """The params of every step.

    Example:
        parser = ArgumentParser()
        add_sections(parser)
        options = parse(parser, ["--train.epochs", "1"], config_path("quickstart"))
        config = config_of(parser, options)  # config.train.epochs is 1, config.preprocess.block_size is 64
    """

    ingest: IngestParams
    tokenizer: TokenizerParams
    preprocess: PreprocessParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams
    validate: ValidateParams
    push: PushParams

    def as_plain(self) -> dict[str, dict[str, Any]]:
        """The sections as dictionaries of plain values, in the pipeline's order."""
        return dataclasses.asdict(self)

    def as_yaml(self, ascii_only: bool = False) -> str:
        """The sections as YAML that `--config` reads back to the same configuration."""
        return yaml.safe_dump(self.as_plain(), sort_keys=False, allow_unicode=not ascii_only)


SECTIONS: dict[str, type] = {field.name: field.type for field in dataclasses.fields(Config)}  # type: ignore[misc]


def add_sections(parser: ArgumentParser) -> None:
    """Gives a parser an option `--<section>.<key>` for every key of every section."""
    for section, params in SECTIONS.items():
        parser.add_class_arguments(params, section)


def config_path(name_or_path: str) -> Path:
    """The YAML file of a configuration: one of `configs/` by name, or any file by path.

    Raises:
        ConfigError: If there is no such file.
    """
    named = CONFIGS / f"{name_or_path}.yaml"
    path = named if named.is_file() else Path(name_or_path)
    if not path.is_file():
        names = sorted(file.stem for file in CONFIGS.glob("*.yaml"))
        raise ConfigError(
            "--config must name a configuration in configs/ or the path of a YAML file",
            received=name_or_path,
            remedy=f"use one of {', '.join(names)}{_nearest(name_or_path, names)}, or a path",
        )
    return path


def parse(parser: ArgumentParser, arguments: Sequence[str], path: Path) -> Namespace:
    """Fills a parser's options from a YAML file, then from the command line.

    Settings of the file that belong to a source or a model don't apply where the command line names another one.

    Args:
        parser: A parser with the sections, and with whatever other options its program takes.
        arguments: The command line without the program's name.
        path: The YAML file.

    Returns:
        The options; `notes` in them holds a sentence for each change that a user may not expect.

    Raises:
        ConfigError: For an unknown key, with the nearest valid names, or a value of the wrong type.
    """
    file = _read(path)
    _check_options(parser, arguments)
    parser.default_config_files = [str(path)]
    try:
        options = parser.parse_args(list(arguments))
        typed = parser.parse_args(list(arguments), defaults=False).as_dict()
        options["notes"] = drop_replaced(options, file, {name: typed.get(name) or {} for name in SECTIONS})
        return options
    except (TypeError, ValueError, KeyError) as error:
        raise _unusable(error) from error
    except Exception as error:
        # argparse's own errors and the library's have no common base class.
        if type(error).__module__.split(".")[0] not in ("argparse", "jsonargparse", "yaml"):
            raise
        raise _unusable(error) from error


def config_of(parser: ArgumentParser, namespace: Namespace) -> Config:
    """The sections of a parsed command line as the steps' params.

    Raises:
        ConfigError: For a value that breaks a rule.
    """
    values = parser.instantiate(namespace)
    return Config(**{section: values[section] for section in SECTIONS})


def _unusable(error: Exception) -> ConfigError:
    message = " ".join(str(error).split())
    return ConfigError(
        "an option's value must be of the type that --help names for it",
        received=message,
        remedy="see --help",
    )


def _read(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """The values of a YAML file by section and key. Refuses a file that isn't made of sections with known keys."""
    rule = f"a configuration must be YAML with the sections {', '.join(SECTIONS)}"
    try:
        text = path.read_text("utf-8")
        content = yaml.safe_load(text)
        _refuse_repeated_keys(path, yaml.compose(text))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(rule, received=f"{path}: {' '.join(str(error).split())}", remedy="mend the file") from error
    content = {} if content is None else content
    every_key = [key for section in SECTIONS for key in _keys(section)]  # a key may stand in another's section
    if not isinstance(content, Mapping):
        raise ConfigError(rule, received=f"{path} holds a {type(content).__name__}", remedy="mend the file")
    for section, values in content.items():
        _check_name(str(section), SECTIONS, f"{path} has the section", "sections")
        if not isinstance(values, Mapping):
            raise ConfigError(
                "a section must hold keys with values",
                received=f"{path} has {section}: {values!r}",
                remedy=f"indent the keys below '{section}:', or leave the section out",
            )
        for key in values:
            _check_name(f"{section}.{key}", list(_keys(section)), f"{path} has the key", "keys", every_key)
    return content


def _refuse_repeated_keys(path: Path, node: yaml.Node | None) -> None:
    """Refuses a YAML file in which a key stands twice, of which the library would take the last without a word."""
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            if key.value in names:
                raise ConfigError(
                    "a key of a configuration must stand once where it stands",
                    received=f"{path}, line {key.start_mark.line + 1}: {key.value} once more",
                    remedy="put what belongs together below one of them",
                )
            names.add(str(key.value))
            _refuse_repeated_keys(path, value)


def _check_options(parser: ArgumentParser, arguments: Sequence[str]) -> None:
    """Refuses an option that the parser doesn't have."""
    options = [option for action in parser._actions for option in action.option_strings]
    dictionaries = [f"--{key}." for section in SECTIONS for key in _keys(section, dictionaries=True)]
    for argument in arguments:
        if argument == "--":
            return
        option = argument.split("=", 1)[0]
        if not option.startswith("--") or any(option.startswith(prefix) for prefix in dictionaries):
            continue
        _check_name(option, options, "the command line has", "options")


def _keys(section: str, dictionaries: bool = False) -> Iterator[str]:
    for field in dataclasses.fields(SECTIONS[section]):
        if not dictionaries or "dict" in str(field.type).lower():
            yield f"{section}.{field.name}"


def _check_name(name: str, valid: Iterable[str], where: str, kind: str, near: Iterable[str] = ()) -> None:
    valid = list(valid)
    if name not in valid:
        nearest = _nearest(name, list(near) or valid)
        every = f"the {kind} are {', '.join(valid)}" if len(valid) < 12 else f"--help lists the {kind}"
        raise ConfigError(f"the {kind} must be known", received=f"{where} {name}", remedy=every + nearest)


def _nearest(name: str, valid: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(valid), n=3, cutoff=0.5)
    return f" (nearest: {', '.join(nearest)})" if nearest else ""
