"""A model's versions on the disk and in memory: a new one takes over from the one before when it is ready."""

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from foundation.errors import ConfigError
from foundation.versions import LITE_MODEL
from serving.server import metrics
from serving.server.batching.scheduler import BatchScheduler
from serving.server.models.batched_model import BatchedModel
from serving.server.models.loading import DEFAULT_LOADING, Loading
from serving.server.models.model_config import ModelConfig
from serving.server.models.model_directory import read_example
from serving.server.models.saved_model import SavedModel
from serving.server.models.warm_up import warm_up
from serving.server.status import Code, StatusError, VersionStatus, invalid, unknown_label

logger = logging.getLogger(__name__)
POLL_SECONDS = 1.0
CLOSING_SECONDS = 1.0
"""How long `close` waits for a version that is being loaded."""
FORGOTTEN_SECONDS = 600.0
"""After how long a version that is neither served nor on the disk has no status any more."""


class ModelVersions:
    """Serves versions of a base path, by default the highest, and follows the directory as versions come and go.

    A new version is loaded and warmed up while the old one serves, and takes over at once; the old one is
    dropped when its last request is done. One that doesn't load leaves the old one serving; it is tried again
    when its files change, and by default once a minute a few times, and counts as loading until then.

    Args:
        config: The model's name, which versions are served, and their labels.
        find: Returns the directories of the versions that are on the disk, by number.
        timeout_seconds: How long a call may take.
        scheduler: Joins the calls of several requests; None to run each for itself.
        meter: Counts and times what is loaded.
        loading: How versions are loaded, and tried again.
    """

    def __init__(
        self,
        config: ModelConfig,
        find: Callable[[], dict[int, Path]],
        timeout_seconds: float = 30.0,
        scheduler: BatchScheduler | None = None,
        meter: metrics.Metrics | None = None,
        loading: Loading = DEFAULT_LOADING,
    ) -> None:
        self.loading = loading
        self.config = config
        self._find = find
        self._timeout_seconds = timeout_seconds
        self._scheduler = scheduler
        self._meter = meter or metrics.Metrics()
        self._statuses: dict[int, VersionStatus] = {}
        self._served: dict[int, _Served] = {}
        self._failed: dict[int, _Failure] = {}
        self._gone: dict[int, float] = {}
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The model's name in URLs."""
        return self.config.name

    @property
    def statuses(self) -> list[VersionStatus]:
        """The status of every version that was ever seen."""
        with self._lock:
            return list(self._statuses.values())

    @property
    def serving_versions(self) -> list[int]:
        """The numbers of the versions that answer now, in rising order."""
        with self._lock:
            return sorted(self._served)

    @property
    def serving_version(self) -> int | None:
        """The number of the version that answers where a request names none."""
        return max(self.serving_versions, default=None)

    @property
    def example(self) -> str | None:
        """A text to try the latest version on; None where it came without one."""
        with self._lock:
            served = self._served.get(max(self._served, default=0))
            return None if served is None else served.example

    def labelled(self, label: str) -> int:
        """The version that a label stands for.

        Raises:
            StatusError: INVALID_ARGUMENT for an unknown label.
        """
        version = self.config.labels.get(label)
        if version is None:
            raise unknown_label(label)
        return version

    @contextlib.contextmanager
    def use(self, version: int | None = None) -> Iterator[tuple[int, SavedModel | BatchedModel]]:
        """Lends a version, which is not closed while lent.

        Args:
            version: The one wanted; None for the latest.

        Raises:
            StatusError: NOT_FOUND if it is not being served.
        """
        with self._lock:
            served = self._served.get(max(self._served, default=0) if version is None else version)
            if served is None:
                wanted = f"Latest({self.name})" if version is None else f"Specific({self.name}, {version})"
                raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
            served.users += 1
        try:
            yield served.version, served.model
        finally:
            self._release(served)

    def refresh(self) -> None:
        """Looks at the disk once and serves what the policy chooses there.

        What was served and is not chosen any more goes on until all that is chosen serves.

        Raises:
            StatusError: If a version doesn't load.
            OSError: If the disk can't be read.
        """
        with self._refreshing:
            self._refresh()

    def configure(self, config: ModelConfig) -> None:
        """Follows another policy, and other labels, from now on. The log says what doesn't load."""
        self.config = config
        self._refresh_and_tell()

    def _refresh(self) -> None:
        try:
            found = self._find()
        except FileNotFoundError:
            if self.serving_versions:  # a base path that is gone for a moment takes no version along
                raise
            found = {}
        self._forget(found)
        chosen = self.config.policy.choose(found)
        problem = None
        for version in sorted(chosen.keys() - set(self.serving_versions), reverse=True):
            try:
                self._load(version, chosen[version])
            except StatusError as error:
                problem = problem or error
        serving = self.serving_versions
        if chosen.keys() <= set(serving):
            for version in serving:
                if version not in chosen:
                    self._drop(version)
        if problem is not None:
            raise problem

    def _forget(self, found: Collection[int]) -> None:
        """Ends the loading of versions that are gone from the disk, and forgets those that ended long ago."""
        now = time.monotonic()
        for version in [version for version in self._failed if version not in found]:
            del self._failed[version]
            with self._lock:
                status = self._statuses[version]
                self._statuses[version] = dataclasses.replace(status, state="END")
        with self._lock:
            gone = {v for v, one in self._statuses.items() if one.state == "END" and v not in found}
            self._gone = {version: self._gone.get(version, now) for version in gone}
            for version, since in list(self._gone.items()):
                if now - since >= FORGOTTEN_SECONDS:
                    del self._statuses[version], self._gone[version]

    def _load(self, version: int, directory: Path) -> None:
        """Loads a version and serves it, unless it failed and it's too early to try again."""
        files = fingerprint(directory)
        failure = self._failed.get(version)
        if failure is not None and not failure.is_due(files, self.loading):
            return
        self._set(VersionStatus(version, "LOADING"))
        try:
            served = self._loaded(directory)
        except StatusError as error:
            self._meter.count(metrics.LOAD_ATTEMPT_COUNT, str(directory), "fail")
            failure = _Failure(files, 1 + (failure.count if failure else 0), time.monotonic())
            self._failed[version] = failure
            if failure.count > self.loading.retries:
                self._set(VersionStatus(version, "END", error.code, error.message))
            raise
        self._meter.count(metrics.LOAD_ATTEMPT_COUNT, str(directory), "success")
        example = read_example(directory)
        self._failed.pop(version, None)
        with self._lock:
            self._served[version] = _Served(version, served, example)
            self._statuses[version] = VersionStatus(version, "AVAILABLE")

    def _loaded(self, directory: Path) -> SavedModel | BatchedModel:
        """A version in memory, warmed up.

        Raises:
            StatusError: Whatever is wrong with it: no version may end the watching for those to come.
        """
        try:
            with self._meter.lasted(metrics.LOAD_LATENCY, str(directory)):
                if self.loading.prefer_lite and (directory / LITE_MODEL).exists():
                    from serving.server.models.lite_version import LiteVersion

                    lite = LiteVersion(directory)
                    if self.loading.warm_up:
                        warm_up(lite, self.loading.warm_up_iterations)
                    return lite
                model = SavedModel(directory, self._timeout_seconds, self.loading)
            try:
                served = self._batched(model)
                if self.loading.warm_up:
                    with self._meter.timed(metrics.WARM_UP_LATENCY, str(directory), "OK"):
                        warm_up(model, self.loading.warm_up_iterations)
            except BaseException:
                model.close()
                raise
        except StatusError:
            raise
        except Exception as error:
            raise StatusError(Code.INTERNAL, f"Could not load {directory}: {type(error).__name__}: {error}") from error
        return served

    def _batched(self, model: SavedModel) -> SavedModel | BatchedModel:
        """A version as it is to be called: together with other requests, or alone."""
        if self._scheduler is None:
            return model
        try:
            parameters = self._scheduler.parameters_of(model.directory)
        except ConfigError as error:
            raise invalid(str(error)) from error
        return BatchedModel(model, self._scheduler, self._timeout_seconds, parameters) if parameters else model

    def watch(self, poll_seconds: float = POLL_SECONDS) -> None:
        """Follows the disk from now on, in a thread of its own."""

        def follow() -> None:
            while not self._stopping.wait(poll_seconds):
                self._refresh_and_tell()

        self._watcher = threading.Thread(target=follow, name=f"loading: versions of {self.name}", daemon=True)
        self._watcher.start()

    def _refresh_and_tell(self) -> None:
        """Looks at the disk once, and writes changes and problems into the log."""
        before = self.serving_versions
        try:
            self.refresh()
        except StatusError as error:
            logger.error("%s: version %s", self.name, error)
        except OSError as error:
            logger.error("%s: can't look for versions: %s", self.name, error)
        except Exception:  # a fault of this server, which must not end the watching
            logger.exception("%s: can't look for versions", self.name)
        if self.serving_versions != before:
            logger.info("%s: versions %s serve, %s did before", self.name, self.serving_versions, before)

    def close(self) -> None:
        """Ends watching and drops every version when its last request is done.

        A version that is being loaded goes on with it: TensorFlow can't be interrupted, and nobody should wait for it.
        """
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join(CLOSING_SECONDS)
        for version in self.serving_versions:
            self._drop(version)

    def _set(self, status: VersionStatus) -> None:
        with self._lock:
            self._statuses[status.version] = status

    def _drop(self, version: int) -> None:
        """Serves a version no more; it is closed when its last request is done."""
        with self._lock:
            dropped = self._served.pop(version)
            self._statuses[version] = VersionStatus(version, "UNLOADING")
        self._release(dropped)

    def _release(self, served: "_Served") -> None:
        with self._lock:
            served.users -= 1
            if served.users:
                return
            # A version that was put back meanwhile has a status of its own.
            if served.version not in self._served:
                self._statuses[served.version] = VersionStatus(served.version, "END")
        served.model.close()


class _Served:
    """A loaded version, a text to try it on, and how many use it, the server itself among them."""

    def __init__(self, version: int, model: SavedModel | BatchedModel, example: str | None) -> None:
        self.version = version
        self.model = model
        self.example = example
        self.users = 1


class _Failure:
    """A version that didn't load: what its files were, how often it was tried, and when last."""

    def __init__(self, files: frozenset[tuple[str, int, int]], count: int, last: float) -> None:
        self.files = files
        self.count = count
        self.last = last

    def is_due(self, files: frozenset[tuple[str, int, int]], loading: Loading) -> bool:
        """Whether to try again."""
        waited = time.monotonic() - self.last >= loading.retry_seconds
        return files != self.files or (waited and self.count <= loading.retries)


def fingerprint(directory: Path) -> frozenset[tuple[str, int, int]]:
    """Name, bytes and modification time of every file below a directory, to see when it changes."""
    found = set()
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            state = path.stat()
            found.add((str(path), state.st_size, state.st_mtime_ns))
    return frozenset(found)
