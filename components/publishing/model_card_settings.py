"""The settings that a model was made with, as a configuration file: those that differ from the defaults."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.blocks.params import PreprocessParams
from components.contract.artifacts import Artifact
from components.evaluation.baseline import LAST_BLESSED
from components.evaluation.params import EvaluateParams
from components.exporting.params import ExportParams
from components.publishing.model_card_sections import CardArtifacts, is_hub_id, without_paths
from components.sources.params import IngestParams
from components.tokenizers.params import TokenizerParams
from components.training.params import TrainParams

PARAMS: Mapping[str, type] = {
    "ingest": IngestParams,
    "tokenizer": TokenizerParams,
    "preprocess": PreprocessParams,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "export": ExportParams,
}
"""By step: they know the defaults."""
ALWAYS = ("dataset",)
"""Settings that everyone looks for, the default or not."""
PLACES = ("path", "test_path", "pretrained", "baseline")
"""Settings that may be a path of this machine, of which the last part alone is shown."""


def configuration(artifacts: CardArtifacts) -> str:
    """The settings of every step up to the export as YAML, a section a step."""
    import yaml

    sections = {}
    for artifact in (
        artifacts.corpus,
        artifacts.tokenizer,
        artifacts.blocks,
        artifacts.checkpoint,
        artifacts.evaluation,
        artifacts.model,
    ):
        if settings := changed_settings(artifact):
            sections[str(artifact.manifest["component"])] = settings
    return yaml.safe_dump(sections, sort_keys=False, allow_unicode=True, width=100).rstrip("\n")


def changed_settings(artifact: Artifact) -> dict[str, Any]:
    """Those of the settings that an artifact was made with that differ from the defaults."""
    params = PARAMS.get(str(artifact.manifest.get("component")))
    known = {} if params is None else {field.name: field for field in dataclasses.fields(params)}
    settings: dict[str, Any] = {
        name: value
        for name, value in artifact.manifest.get("params", {}).items()
        if name in known and (_differs(known[name], value) or name in ALWAYS)
    }
    if settings.get("path") or settings.get("sources"):
        settings.pop("dataset", None)  # which isn't read then
    return {name: shareable(name, value) for name, value in settings.items()}


def _differs(field: "dataclasses.Field[Any]", value: object) -> bool:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return value != (list(default) if isinstance(default, tuple) else default)


def shareable(name: str, value: Any) -> Any:
    """A setting without the directories of this machine."""
    if isinstance(value, Mapping):
        return {key: shareable(str(key), each) for key, each in value.items()}
    if isinstance(value, list):
        return [shareable(name, each) for each in value]
    if not isinstance(value, str) or value == LAST_BLESSED or "://" in value or is_hub_id(value):
        return value
    return Path(value).name if name in PLACES or value.startswith("~") else without_paths(value)
