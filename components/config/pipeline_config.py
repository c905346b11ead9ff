"""The configuration of a whole pipeline: one section a step.

The steps' own dataclasses alone define names, types, defaults and help.
"""

import dataclasses
import typing
from typing import Any

import yaml

from components.config.values import Dumper
from components.evaluation.params import EvaluateParams
from components.export import ExportParams
from components.ingest import IngestParams
from components.preprocess import PreprocessParams
from components.publishing.params import PushParams
from components.tokenizers.params import TokenizerParams
from components.training.params import TrainParams
from components.validate import ValidateParams


@dataclasses.dataclass(frozen=True)
class Config:
    """The params of every step.

    Example:
        parser = CommandLine()
        add_sections(parser)
        options = parse(parser, ["--train.epochs", "1"], config_path("quickstart"))
        config = config_of(options)  # config.train.epochs is 1, config.preprocess.block_size is 64
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
        return yaml.dump(_lists(self.as_plain()), Dumper=Dumper, sort_keys=False, allow_unicode=not ascii_only)


SECTIONS: dict[str, type] = {field.name: field.type for field in dataclasses.fields(Config)}  # type: ignore[misc]
KEYS: dict[str, Any] = {
    f"{section}.{key}": annotation
    for section, params in SECTIONS.items()
    for key, annotation in typing.get_type_hints(params).items()
    if key in {field.name for field in dataclasses.fields(params)}
}
"""The type of every setting, by section and key."""


def default_of(key: str) -> Any:
    """The default of a setting, such as `train.epochs`."""
    section, _, name = key.partition(".")
    [field] = [field for field in dataclasses.fields(SECTIONS[section]) if field.name == name]
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _lists(value: Any) -> Any:
    """A value with lists in place of tuples, which YAML doesn't have."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, (list, tuple)) else value
