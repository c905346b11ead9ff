"""A Ray cluster: one of this machine's own, which ends with the run, or another that is joined."""

import contextlib
import logging
import math
import os
import re
import secrets
import shutil
import signal
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.config.runner_settings import RayParams
from foundation import memory
from foundation.errors import ConfigError, PipelineError
from foundation.process_lock import ProcessLock, is_held
from foundation.quiet_tensorflow import filtered_stderr
from foundation.termination import SIGNALS
from runners.program_code import ROOT
from runners.ray.joining import join, require_this_program
from runners.ray.places import require_places
from runners.ray.usable import require_usable

TEMPORARY = Path("/tmp")
"""Sockets are below it, whose paths must be short; the directories that TMPDIR names often aren't."""
PREFIX = "mlm-ray-"
MOST_STORE_BYTES = 2 << 30
LEAST_STORE_BYTES = 96 << 20
"""Of the results that wait for the driver, Ray keeps half of this in memory at a time."""
REMOVE_SECONDS = 3.0
QUIET = {
    # Reports to Ray's makers need the network, and the user's consent.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # Ray Train's workers otherwise work in a directory of their own, in which relative paths mean something else.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
}
"""What Ray reads in the environment, wherever its cluster is."""
ITS_LOG_LEVEL = re.compile(rb"\[[^\]]*\] logging\.cc")
"""What Ray remarks about the level at which it is to remark nothing."""
ON_LOOPBACK = {
    # Ray's name for it: without clusters, each of its processes listens on 127.0.0.1 alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    # A machine with other work to do takes longer than the usual 20 seconds to begin.
    "RAY_gcs_server_port_wait_time_s": "180",
    # A process that waits for nodes to be taken away, which can't happen here.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # As nice as the local runner, not 15.
    "RAY_worker_niceness": "0",
}


class Cluster:
    """The cluster of a run.

    Args:
        params: Where it is, and what it must have.
    """

    def __init__(self, params: RayParams) -> None:
        self.params = params
        self._stack = contextlib.ExitStack()
        self._is_up = False

    def require_usable(self) -> None:
        """Imports Ray, which reads the environment then.

        Raises:
            ConfigError: If it can't be imported.
        """
        with _environment(self._variables()):
            require_usable()

    def ensure(self) -> None:
        """Starts or joins the cluster, unless that is done.

        Raises:
            PipelineError: If it can't be reached, lacks room for the workers, this program or the run's files.
        """
        if self._is_up:
            return
        try:
            self._stack.enter_context(_environment(self._variables()))
            with _own_signals(), filtered_stderr(ITS_LOG_LEVEL):
                _read_environment_anew()
                if self.params.address is None:
                    self._start()
                else:
                    self._stack.callback(_shutdown)
                    join(self.params)
            require_places(self.params)
            if self.params.address is not None:
                require_this_program(self.params)
        except BaseException:
            self.stop()
            raise
        self._is_up = True

    def stop(self) -> None:
        """Ends the cluster that was started here, or leaves the one that was joined."""
        self._is_up = False
        self._stack.close()

    def _variables(self) -> dict[str, str]:
        timeout = f"{self.params.timeout_seconds:g}"
        variables = {**QUIET, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": timeout}
        if self.params.address is not None:
            return variables
        # Who knows the token may have Ray run whatever he likes: other users of this machine must not, and the file
        # in which Ray would leave it has no place in somebody's home.
        variables |= {**ON_LOOPBACK, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        if str(ROOT) not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
            # A checkout that needn't be installed.
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return variables

    def _start(self) -> None:
        """Starts a cluster on this machine. The system ends its processes with this one, however that ends."""
        import ray

        try:
            directory = self._stack.enter_context(_directory())
        except OSError as error:
            raise ConfigError(
                f"Ray must be able to write to {TEMPORARY}, which has short enough paths for its sockets",
                received=f"{error.filename or TEMPORARY}: {error.strerror or error}",
                remedy="give the permission or make room there, or use --runner local",
            ) from error
        self._stack.enter_context(_loopback_alone(ray))
        self._stack.callback(_shutdown)
        _say_nothing(ray)
        try:
            ray.init(
                address="local",
                _node_ip_address="127.0.0.1",
                include_dashboard=False,
                num_cpus=max(1, math.ceil(self.params.workers * self.params.cpus_per_worker)),
                num_gpus=None if self.params.gpus_per_worker else 0,
                object_store_memory=_store_bytes(),
                _temp_dir=str(directory),
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
        except Exception as error:
            raise PipelineError(
                "Ray must start on this machine",
                received=" ".join(str(error).split())[:500] or type(error).__name__,
                remedy=f"see whether {TEMPORARY} can be written and processes may be started, or use --runner local",
            ) from error


@contextlib.contextmanager
def _loopback_alone(ray: Any) -> Iterator[None]:
    """Has Ray listen on 127.0.0.1 alone also where a program imported it before the environment said so."""
    constants = ray._private.ray_constants
    before, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def _read_environment_anew() -> None:
    """Has Ray know the token of this cluster: it keeps the one of the last that this process was in."""
    import ray

    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


def _say_nothing(ray: Any) -> None:
    """Has Ray print nothing of its own here: a worker's death would be a screen of guesses."""
    # There is no setting for what it prints of its nodes' errors; this is what its debugger turns off.
    ray._private.worker._worker_logs_enabled = False
    logging.getLogger("ray").setLevel(logging.CRITICAL)


def _shutdown() -> None:
    import ray

    ray.shutdown()


def _store_bytes() -> int:
    """How large the object store is."""
    free = memory.free_bytes()
    return MOST_STORE_BYTES if free is None else max(LEAST_STORE_BYTES, min(MOST_STORE_BYTES, free // 5))


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """A directory for Ray's sockets and logs, removed at the end; and those of runs that were killed."""
    for left in TEMPORARY.glob(f"{PREFIX}*/"):
        with contextlib.suppress(OSError, PipelineError):
            if left.stat().st_uid == os.getuid() and not is_held(left.with_suffix(".lock")):
                shutil.rmtree(left, ignore_errors=True)
                left.with_suffix(".lock").unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=PREFIX, suffix=".lock", dir=TEMPORARY)
    os.close(descriptor)
    with ProcessLock(Path(name), "ray"):
        directory = Path(name).with_suffix("")
        directory.mkdir(mode=0o700)
        try:
            # One below it, because Ray lets everybody write to the directory that it is given.
            yield directory / "ray"
        finally:
            _remove(directory)


def _remove(directory: Path) -> None:
    """Removes a directory to which processes that are about to end may still write."""
    until = time.monotonic() + REMOVE_SECONDS
    while directory.exists() and time.monotonic() < until:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.05)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for a time."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Has signals do what they always do: Ray puts handlers of its own for SIGTERM in the place of the program's.

    With them, a signal while Ray starts would end the process without a word, and leave the run's record open.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    ended = False
    try:
        yield
    except SystemExit:  # of Ray's handler
        ended = True
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if ended:
        signal.raise_signal(signal.SIGTERM)
        raise KeyboardInterrupt
