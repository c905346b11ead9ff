"""The models that a server serves: loading them, and changing to another configuration while they serve."""

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from foundation.errors import ConfigError, ServingError
from foundation.versions import versions
from serving.server import metrics
from serving.server.batching.scheduler import BatchScheduler
from serving.server.models import model_config
from serving.server.models.loading import DEFAULT_LOADING, Loading
from serving.server.models.model_config import ModelConfig
from serving.server.models.model_directory import ModelDirectory
from serving.server.models.model_versions import CLOSING_SECONDS, ModelVersions
from serving.server.status import Code, StatusError, VersionStatus

logger = logging.getLogger(__name__)
REMEMBERED_MODELS = 100
"""How many models that are served no more have a status still."""
Load = Callable[[ModelConfig], ModelVersions]


def load(
    directory: Path,
    name: str | None = None,
    timeout_seconds: float = 30.0,
    scheduler: BatchScheduler | None = None,
    meter: metrics.Metrics | None = None,
    loading: Loading = DEFAULT_LOADING,
) -> ModelVersions:
    """Loads the latest version below a base path, or a single SavedModel.

    Args:
        directory: A base path with integer version directories, or a SavedModel's own directory.
        name: The model's name in URLs; the base path's own if None.
        timeout_seconds: How long a call may take.
        scheduler: Joins the calls of several requests; None to run each for itself.
        meter: Counts and times what is loaded.
        loading: How versions are loaded, and tried again.

    Raises:
        ConfigError: If the directory holds neither.
        ServingError: If the latest version doesn't load.
    """
    opened = ModelDirectory.open(directory)
    config = ModelConfig(name or opened.name, opened.path)
    return loaded(ModelVersions(config, opened.versions, timeout_seconds, scheduler, meter, loading))


def load_configured(
    config: ModelConfig,
    timeout_seconds: float = 30.0,
    scheduler: BatchScheduler | None = None,
    meter: metrics.Metrics | None = None,
    loading: Loading = DEFAULT_LOADING,
) -> ModelVersions:
    """Loads what a model configuration says of one model. The other arguments are those of `load`.

    Raises:
        ServingError: If a version doesn't load, or there is none.
    """
    find = functools.partial(versions, config.base_path)
    return loaded(ModelVersions(config, find, timeout_seconds, scheduler, meter, loading))


def loaded(model: ModelVersions) -> ModelVersions:
    """A model after its versions were loaded.

    Raises:
        ServingError: If one doesn't load, or there is none.
    """
    path = model.config.base_path
    try:
        model.refresh()
    except StatusError as error:
        failed = next(status.version for status in model.statuses if status.state != "AVAILABLE")
        model.close()
        raise ServingError(
            "the versions of the model to be served must load",
            received=f"version {failed} in {path}: {error}",
            remedy="push the model again, or remove that version to serve the one before",
        ) from error
    except OSError as error:
        model.close()
        raise ServingError(
            f"the base path of model {model.name} must be a directory that can be read",
            received=f"{path}: {error.strerror or error}",
            remedy="correct the path, or give the permission",
        ) from error
    if not model.serving_versions and model.config.policy.specific != ():
        raise ServingError(
            f"model {model.name} must have a version to serve",
            received=f"none in {path}",
            remedy="push a model there, or correct the path and the version policy",
        )
    return model


class ServedModels(Mapping[str, ModelVersions]):
    """Models by name; a new configuration takes their place while they serve.

    Args:
        models: Those served from the start.
        load: Loads one more.
        allow_labels_for_unavailable_versions: Whether a new label may name a version that is not being served.
    """

    def __init__(
        self,
        models: Sequence[ModelVersions],
        load: Load = load_configured,
        allow_labels_for_unavailable_versions: bool = False,
    ) -> None:
        self._models = {model.name: model for model in models}
        self._removed: dict[str, list[VersionStatus]] = {}
        self._load = load
        self._allow_labels = allow_labels_for_unavailable_versions
        self._changing = threading.Lock()
        self._stopping = threading.Event()
        self._follower: threading.Thread | None = None

    def __getitem__(self, name: str) -> ModelVersions:
        """A model by name."""
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        """The names at this moment."""
        return iter(tuple(self._models))

    def __len__(self) -> int:
        """How many models there are."""
        return len(self._models)

    def statuses(self, name: str) -> list[VersionStatus]:
        """The statuses of a model's versions, also of one that was served before; empty for a name never heard."""
        model = self._models.get(name)
        return self._removed.get(name, []) if model is None else model.statuses

    def add(self, model: ModelVersions) -> None:
        """Serves one model more."""
        self._models[model.name] = model

    def change(self, configs: Sequence[ModelConfig]) -> None:
        """Serves these models and no others.

        Those to be added are loaded first, and if one fails nothing changes (where TensorFlow Serving has dropped
        the others by then). A model's versions and labels follow its configuration; a version that doesn't load
        leaves those before it serving, as ever.

        Raises:
            StatusError: FAILED_PRECONDITION for a label of a version that is not being served, UNKNOWN for a model
                that doesn't load.
        """
        with self._changing:
            self._check_labels(configs)
            kept = {}
            added: list[ModelVersions] = []
            for config in configs:
                model = self._models.get(config.name)
                if model is not None and model.config.base_path == config.base_path:
                    kept[config.name] = config
                    continue
                try:
                    added.append(self._load(config))
                except ServingError as error:
                    for model in added:
                        model.close()
                    raise StatusError(Code.UNKNOWN, f"Model {config.name} did not become available: {error}") from error
            for name, config in kept.items():
                self._models[name].configure(config)
            before = self._models
            self._models = {model.name: model for model in [*(before[name] for name in kept), *added]}
            for name, model in before.items():
                if name not in kept:
                    model.close()
                    self._note_removed(model)
        logger.info("serving %s", ", ".join(self) or "no model")

    def _note_removed(self, model: ModelVersions) -> None:
        """Keeps what became of a model's versions, for those who ask later."""
        self._removed.pop(model.name, None)
        self._removed[model.name] = [VersionStatus(status.version, "END") for status in model.statuses]
        while len(self._removed) > REMEMBERED_MODELS:
            del self._removed[next(iter(self._removed))]

    def _check_labels(self, configs: Sequence[ModelConfig]) -> None:
        """Refuses labels of versions that don't serve, unless they are new and that was allowed."""
        for config in configs:
            model = self._models.get(config.name)
            serving = [] if model is None else model.serving_versions
            labels = {} if model is None else model.config.labels
            for label, version in config.labels.items():
                may_wait = label not in labels and self._allow_labels
                if labels.get(label) != version and version not in serving and not may_wait:
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to {config.name} version {version}, which is not currently "
                        f"available for inference (label: {label})",
                    )

    def follow(self, path: Path, seconds: float) -> None:
        """Reads a configuration file again and again from now on, in a thread of its own, and changes to it.

        A file that can't be read, is invalid or can't be served changes nothing; the log says why.
        """
        text: str | None = None

        def look() -> None:
            nonlocal text
            while not self._stopping.wait(seconds):
                try:
                    found = path.read_text("utf-8")
                    if found != text:
                        self.change(model_config.read(path))
                        text = found
                except (OSError, UnicodeDecodeError, ConfigError, StatusError) as error:
                    logger.error("%s: nothing changes: %s", path, error)

        self._follower = threading.Thread(target=look, name="loading: configuration file", daemon=True)
        self._follower.start()

    def close(self) -> None:
        """Ends following, and drops every model when its last request is done."""
        self._stopping.set()
        if self._follower is not None:
            self._follower.join(CLOSING_SECONDS)
        for model in self._models.values():
            model.close()
