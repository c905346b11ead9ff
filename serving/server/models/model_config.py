"""What to serve: the models, versions and labels of TensorFlow Serving's model configuration file."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError
from serving.server import text_protos

OPTION = "--model-config-file"
TENSORFLOW_TYPE = 1
"""`TENSORFLOW`, in the field that `model_platform` has replaced."""


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions on the disk are served; by default the latest one.

    Attributes:
        latest: How many of the highest versions; None for all versions, or for those in `specific`.
        specific: The only versions to serve, which may be none; None where `latest` decides.
    """

    latest: int | None = 1
    specific: tuple[int, ...] | None = None

    def choose(self, found: Mapping[int, Path]) -> dict[int, Path]:
        """The versions to serve of those that stand on the disk."""
        if self.specific is not None:
            return {version: found[version] for version in sorted(self.specific) if version in found}
        chosen = sorted(found)[-self.latest :] if self.latest is not None else sorted(found)
        return {version: found[version] for version in chosen}


LATEST = VersionPolicy()


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One model.

    Attributes:
        name: The model's name in URLs.
        base_path: Holds the version directories.
        policy: Which versions are served.
        labels: Versions by label.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = LATEST
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


def read(path: Path) -> list[ModelConfig]:
    """The models of a model configuration file: a `ModelServerConfig` in protobuf's text format.

    Raises:
        ConfigError: If it can't be read, or is invalid.
    """
    from tensorflow_serving.config import model_server_config_pb2

    message = text_protos.read(OPTION, path, model_server_config_pb2.ModelServerConfig())
    models = to_configs(message, f"{OPTION} {path}")
    if not models:
        raise ConfigError(
            f"{OPTION} must have one or more models",
            received=f"none in {path}",
            remedy="write model_config_list { config { name: 'm' base_path: '/m' model_platform: 'tensorflow' } }",
        )
    return models


def to_configs(message: Any, where: str) -> list[ModelConfig]:
    """The models of a `ModelServerConfig`.

    Args:
        message: The configuration.
        where: What it is part of, for errors.

    Raises:
        ConfigError: Naming the model and its invalid field.
    """
    models = [to_config(one, where) for one in message.model_config_list.config]
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise refused(where, "models must have different names", ", ".join(names))
    return models


def to_config(message: Any, where: str) -> ModelConfig:
    """One model out of its message.

    Raises:
        ConfigError: Naming the invalid field.
    """
    name, base_path = str(message.name), Path(message.base_path)
    shown = f"{where}, model {name!r}"
    if not name:
        raise refused(shown, "the name must not be empty", repr(name))
    if not base_path.is_absolute():
        raise refused(shown, "base_path must be absolute", repr(str(base_path)))
    platform, kind = message.model_platform, message.model_type
    if platform and kind:
        raise refused(
            shown, "model_platform and model_type (deprecated) must not both be given", f"{platform!r} and {kind}"
        )
    if platform != "tensorflow" and kind != TENSORFLOW_TYPE:
        raise refused(shown, "model_platform must be 'tensorflow'", repr(platform))
    if message.HasField("logging_config"):
        raise refused(shown, "logging_config must be left out: requests are not logged", "a logging_config")
    labels = dict(message.version_labels)
    if any(not label or set(label) & set("/:") for label in labels):
        raise refused(
            shown,
            "labels must not be empty and must have neither '/' nor ':', because they become part of URLs",
            repr(sorted(labels)),
        )
    return ModelConfig(name, base_path, to_policy(shown, message.model_version_policy), labels)


def to_policy(shown: str, message: Any) -> VersionPolicy:
    """A version policy out of its message.

    Raises:
        ConfigError: If it asks for a version that can't be.
    """
    choice = message.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(latest=None)
    if choice == "specific":
        versions = tuple(message.specific.versions)
        if min(versions, default=0) < 0:
            raise refused(shown, "specific must list versions that are not negative", repr(list(versions)))
        return VersionPolicy(latest=None, specific=versions)
    number = message.latest.num_versions if choice == "latest" else 1
    # In a proto message 0 means that the number was left out.
    return VersionPolicy(latest=number or 1)


def refused(shown: str, rule: str, received: str) -> ConfigError:
    """The error of an invalid field."""
    return ConfigError(f"in {shown}, {rule}", received=received, remedy="correct the file")
