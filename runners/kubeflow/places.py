"""What a container sees of a configuration's files: what is below the volume, and nothing of this machine."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from components.config.pipeline_config import Config
from components.config.places import PATHS
from components.config.runner_settings import KubeflowParams
from components.push import Push
from foundation.errors import ConfigError

ROOT_WITHOUT_VOLUME = Path("/tmp/masked-lm-pipeline")
"""The root in a container that keeps nothing: it goes with the container."""
FILES = ("ingest.path", "ingest.test_path", "tokenizer.add_tokens")
"""Settings that always name files. Others may name a model on the Hub."""


def root_in_containers(root: str, settings: KubeflowParams) -> Path:
    """The pipeline root as containers see it.

    Args:
        root: What `--root` says. A relative one is below the volume.
        settings: Name the volume.

    Raises:
        ConfigError: If it is no directory, or not below the volume.
    """
    if "://" in root:
        raise ConfigError(
            "--root must be a directory with --runner kubeflow: Kubeflow itself keeps artifacts in its bucket",
            received=root,
            remedy="leave it out, or name by --kubeflow.volume a claim, and by --root a directory below it",
        )
    if settings.volume is None:
        return ROOT_WITHOUT_VOLUME
    there = Path(os.path.normpath(os.path.join(settings.volume_path, root)))
    if not _is_below(there, settings):
        raise ConfigError(
            f"--root must be below kubeflow.volume_path, {settings.volume_path}, which all containers see",
            received=str(there),
            remedy="give a relative --root, or one below it",
        )
    return there


def require_reachable(config: Config, steps: Collection[str]) -> list[str]:
    """Refuses settings that name what containers don't see.

    Args:
        config: The settings, as steps read them.
        steps: The names of the steps that run. The settings of others mean nothing.

    Returns:
        A sentence for each thing that works otherwise than on one machine.

    Raises:
        ConfigError: If a file or folder is not below the volume, or nothing would keep what is pushed.
    """
    settings = config.kubeflow
    for key, name, is_file in _named(config):
        if key.partition(".")[0] in steps and (is_file or _is_path(name)):
            _require_below(key, name, settings)
    continued = config.train.continue_from
    if "train" in steps and continued is not None:
        if continued != "auto":
            _require_below("train.continue_from", continued, settings)
        elif settings.volume is None:
            raise ConfigError(
                "train.continue_from auto must be given with a volume, on which earlier trainings are",
                received="no kubeflow.volume",
                remedy="name a volume claim by --kubeflow.volume, or leave out --train.continue_from",
            )
    return _require_served(config) if Push.name in steps else []


def _named(config: Config) -> Iterator[tuple[str, str, bool]]:
    """The settings that name something on a disk, or may: key, value, and whether it is certainly a file's name."""
    for key in (*PATHS, "tokenizer.add_tokens"):
        section, _, name = key.partition(".")
        value = getattr(getattr(config, section), name)
        if isinstance(value, str) and key != "train.continue_from":
            yield key, value, key in FILES
    for source in config.ingest.sources or ():
        if isinstance(source, str):
            yield "ingest.sources", source, True
        else:
            for name in ("path", "test_path"):
                if isinstance(source.get(name), str):
                    yield "ingest.sources", source[name], True


def _is_path(name: str) -> bool:
    """Whether a name is that of a file or a folder, and not one on the Hub."""
    return name.startswith(("/", ".", "~")) or os.path.exists(name)


def _is_below(path: Path, settings: KubeflowParams) -> bool:
    normal = PurePosixPath(os.path.normpath(path))
    return normal.is_absolute() and normal.is_relative_to(settings.volume_path)


def _require_below(key: str, name: str, settings: KubeflowParams) -> None:
    """Refuses a file or folder that is not below the volume.

    Raises:
        ConfigError: If so.
    """
    if settings.volume is None:
        raise ConfigError(
            f"{key} must name nothing on this machine's disk, which containers don't see",
            received=f"{name}, and no kubeflow.volume",
            remedy=f"copy it to a volume, name its claim by --kubeflow.volume, and give --{key} the path there, such "
            f"as {settings.volume_path}/{Path(name).name}; or use what is on the Hub",
        )
    if not _is_below(Path(name), settings):
        raise ConfigError(
            f"{key} must be below kubeflow.volume_path, {settings.volume_path}, the only disk that containers share",
            received=name,
            remedy=f"copy it to the volume, and give --{key} its path there, such as "
            f"{settings.volume_path}/{Path(name).name}",
        )


def _require_served(config: Config) -> list[str]:
    """Refuses a push that nothing would be left of."""
    push, settings = config.push, config.kubeflow
    if push.dry_run or (settings.volume is not None and not os.path.isabs(push.serving_dir)):
        return []
    if settings.volume is not None:
        _require_below("push.serving_dir", push.serving_dir, settings)
        return []
    if push.hub_model_id is not None:
        return ["push: without a volume, the serving directory goes with its container; the Hub alone keeps the model"]
    raise ConfigError(
        "push must have a place that outlasts its container",
        received="neither kubeflow.volume nor push.hub_model_id",
        remedy="name a volume claim by --kubeflow.volume, a repository by --push.hub_model_id, or end with "
        "--until validate",
    )
