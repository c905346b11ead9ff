"""The sections of a pipeline's configuration, and the type and default of every setting in them.

There is one for each step, and one for each runner that uses more than this machine. The dataclasses of steps and
runners alone define names, types, defaults and help.
"""

import dataclasses
import typing
from typing import Any

from components.blocks.params import PreprocessParams
from components.config.runner_settings import KubeflowParams, RayParams
from components.evaluation.params import EvaluateParams
from components.exporting.params import ExportParams
from components.ingest import IngestParams
from components.publishing.params import PushParams
from components.tokenizers.params import TokenizerParams
from components.training.params import TrainParams
from components.validation.params import ValidateParams

STEPS: dict[str, type] = {
    "ingest": IngestParams,
    "tokenizer": TokenizerParams,
    "preprocess": PreprocessParams,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "export": ExportParams,
    "validate": ValidateParams,
    "push": PushParams,
}
"""The params of each step, in the pipeline's order."""
RUNNERS: dict[str, type] = {"ray": RayParams, "kubeflow": KubeflowParams}
"""The settings of each runner that has any."""
SECTIONS = {**STEPS, **RUNNERS}
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
