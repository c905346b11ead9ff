"""The configuration of a whole pipeline, as a program makes and changes it."""

import copy
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.blocks.params import PreprocessParams
from components.config.config_files import config_path, read_config
from components.config.filling import Merged, fill, params_of
from components.config.places import name_places
from components.config.runner_settings import KubeflowParams, RayParams
from components.config.sections import KEYS, SECTIONS
from components.config.settings import Setting, as_given
from components.config.values import Dumper, origins
from components.evaluation.params import EvaluateParams
from components.exporting.params import ExportParams
from components.ingest import IngestParams
from components.publishing.params import PushParams
from components.tokenizers.params import TokenizerParams
from components.training.params import TrainParams
from components.validation.params import ValidateParams
from foundation.errors import ConfigError
from foundation.names import require_known

QUICKSTART = "quickstart"
"""The configuration of who names none."""


def _of_quickstart(section: str) -> Any:
    return copy.deepcopy(_quickstart()[section])


@functools.cache
def _quickstart() -> dict[str, Any]:
    return params_of(read_config(config_path(QUICKSTART)))


@dataclasses.dataclass(frozen=True)
class Config:
    """The params of every step, and the settings of the runners. Those that aren't given are the quickstart's.

    Attributes:
        configuration: The name or path of the file that it began with.
        notes: A sentence for each setting that was changed on behalf of another one.

    Example:
        config = Config.load("quickstart", train={"epochs": 1})
        config = config.replace(ingest={"path": "notes.txt"}, train={"batch_size": 4})
        print(config.train.epochs, config.preprocess.block_size)  # 1 64
    """

    ingest: IngestParams = dataclasses.field(default_factory=lambda: _of_quickstart("ingest"))
    tokenizer: TokenizerParams = dataclasses.field(default_factory=lambda: _of_quickstart("tokenizer"))
    preprocess: PreprocessParams = dataclasses.field(default_factory=lambda: _of_quickstart("preprocess"))
    train: TrainParams = dataclasses.field(default_factory=lambda: _of_quickstart("train"))
    evaluate: EvaluateParams = dataclasses.field(default_factory=lambda: _of_quickstart("evaluate"))
    export: ExportParams = dataclasses.field(default_factory=lambda: _of_quickstart("export"))
    validate: ValidateParams = dataclasses.field(default_factory=lambda: _of_quickstart("validate"))
    push: PushParams = dataclasses.field(default_factory=lambda: _of_quickstart("push"))
    ray: RayParams = dataclasses.field(default_factory=RayParams)
    kubeflow: KubeflowParams = dataclasses.field(default_factory=KubeflowParams)
    configuration: str = dataclasses.field(default=QUICKSTART, compare=False, repr=False)
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False, repr=False)

    @classmethod
    def load(cls, name_or_path: str | Path = QUICKSTART, **sections: Mapping[str, Any]) -> "Config":
        """A configuration file, and settings over it, as `--config` and the options after it set them.

        Args:
            name_or_path: The name of a configuration that comes along, such as `eli5`, or the path of a YAML file.
            sections: Settings by section, such as `train={"epochs": 1}`.

        Raises:
            ConfigError: If there is no such file, or a setting has no such name, type or value.
        """
        return cls._filled(read_config(config_path(str(name_or_path))), sections, str(name_or_path), ())

    def replace(self, **sections: Mapping[str, Any]) -> "Config":
        """The configuration with other settings, as options on the command line change that of a file.

        Another source or model replaces the former one together with what belongs to it, and `notes` says what that
        was. Of a setting that holds keys with values, a single one is set by a dot: `{"model_config.hidden_size": 64}`.

        Args:
            sections: Settings by section, such as `train={"epochs": 1}`.

        Raises:
            ConfigError: If a setting has no such name, type or value.
        """
        return self._filled(self._settings, sections, self.configuration, self.notes)

    @property
    def _settings(self) -> dict[str, Setting]:
        """Every setting, as a file has them that `as_yaml` wrote."""
        names = ((key, *key.split(".", 1)) for key in KEYS)
        return {key: Setting(getattr(getattr(self, section), name)) for key, section, name in names}

    @classmethod
    def _filled(
        cls,
        file: Mapping[str, Setting],
        sections: Mapping[str, Mapping[str, Any]],
        configuration: str,
        notes: tuple[str, ...],
    ) -> "Config":
        settings, more = fill(file, _settings(sections), None)
        return cls(**params_of(settings), configuration=configuration, notes=(*notes, *more))

    def at(self, root: Path) -> "Config":
        """The configuration with the names of runs, folders and pages of the Hub written as the steps read them.

        Args:
            root: The pipeline root, whose runs may be named.

        Raises:
            ConfigError: If one names no checkpoint.
        """
        values = {key: setting.value for key, setting in self._settings.items()}
        notes = name_places(values, root)
        params = params_of({key: Setting(value) for key, value in values.items()})
        return Config(**params, configuration=self.configuration, notes=(*self.notes, *notes))

    def as_plain(self) -> dict[str, dict[str, Any]]:
        """The sections as dictionaries of plain values, in the pipeline's order."""
        return {section: dataclasses.asdict(getattr(self, section)) for section in SECTIONS}

    def as_yaml(self, ascii_only: bool = False) -> str:
        """The sections as YAML that `--config` reads back to the same configuration."""
        return yaml.dump(_lists(self.as_plain()), Dumper=Dumper, sort_keys=False, allow_unicode=not ascii_only)


def _settings(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Setting]:
    """The settings that a program gives by section.

    Raises:
        ConfigError: If a setting has no such name or type.
    """
    settings: dict[str, Setting] = {}
    for section, values in sections.items():
        require_known(section, SECTIONS, "the configuration was given", "sections")
        if not isinstance(values, Mapping):
            raise ConfigError(
                "a section must be given as a dictionary of settings",
                received=f"{section}={values!r}",
                remedy=f"write {section}={{...}}, such as train={{'epochs': 1}}",
            )
        keys = [key for key in KEYS if key.startswith(f"{section}.")]
        for name, value in values.items():
            first, _, within = str(name).partition(".")
            key = f"{section}.{first}"
            if within and key in KEYS and dict in origins(KEYS[key]):
                before = settings.get(key)
                kind = Setting if before is not None and not isinstance(before, Merged) else Merged
                one = as_given(f"{key}.{within}", value, Any).value
                settings[key] = kind({**(before.value if before is not None else {}), within: one})
            else:
                require_known(f"{section}.{name}", keys, "the configuration was given", "settings", list(KEYS))
                settings[key] = as_given(key, value, KEYS[key])
    return settings


def _lists(value: Any) -> Any:
    """A value with lists in place of tuples, which YAML doesn't have."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, (list, tuple)) else value
