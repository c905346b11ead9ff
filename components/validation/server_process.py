"""A server in a process of its own: TensorFlow Serving where it is installed, else the embedded server."""

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from foundation.errors import ServingError
from foundation.terminal import TERMINAL
from serving import deployment_flags
from serving.deployment_flags import MODEL_NAME

TENSORFLOW_SERVING = "tensorflow_model_server"
EMBEDDED = "the embedded server"
CHILD = os.fspath(Path(__file__).with_name("child.py"))

ANNOUNCED_URL = re.compile(r" answers at (http://\S+)/v1/models/")
POLL_SECONDS = 0.05
STOP_SECONDS = 10.0
SHOWN_LINES = 5
SHOWN_CHARACTERS = 600


@dataclasses.dataclass(frozen=True)
class ServerProcess:
    """A server that is up.

    Attributes:
        url: Where it answers; on 127.0.0.1 if it was started here.
        model: The model's name there.
        kind: What serves: `tensorflow_model_server`, `the embedded server`, or `the server at URL`.
        process_id: Its process; None for one that ran before.
        start_seconds: From the process' start until the model answers: libraries, loading, warm-up; None for a server
            that ran before.
    """

    url: str
    model: str
    kind: str
    process_id: int | None
    start_seconds: float | None


def server_kind() -> str:
    """Which server would be started here: TensorFlow Serving if it is on the PATH, else the embedded one."""
    return TENSORFLOW_SERVING if shutil.which(TENSORFLOW_SERVING) else EMBEDDED


@contextlib.contextmanager
def serving(
    saved_model: Path, log: Path, timeout_seconds: float, more_flags: Sequence[str] = ()
) -> Iterator[ServerProcess]:
    """Serves a SavedModel from another process while the context lasts.

    It runs on the CPU: this process may have taken the GPU's memory, and a GPU rounds differently. It ends with this
    process even where that is killed (on Linux).

    Args:
        saved_model: The directory with `saved_model.pb`.
        log: A file for what the server prints.
        timeout_seconds: How long it may take until it answers.
        more_flags: What it is started with besides.

    Raises:
        ServingError: If the server doesn't start in time, or ends, with the end of its log.
    """
    kind = server_kind()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        base_path = Path(directory) / MODEL_NAME
        base_path.mkdir()
        (base_path / "1").symlink_to(saved_model.resolve(), target_is_directory=True)
        deployment_flags.write_config(Path(directory), base_path)
        url, command = tensorflow_serving(directory) if kind == TENSORFLOW_SERVING else (None, embedded(directory))
        command = [*command, *more_flags]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", CHILD, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(),
                cwd=directory if kind == TENSORFLOW_SERVING else None,
                # Ctrl-C in a terminal reaches this process alone, which then ends the server.
                process_group=0,
            )
        try:
            with TERMINAL.progress(f"starting {kind}", unit=None):
                while url is None or not answers(url):
                    if process.poll() is not None:
                        raise ended(kind, process.returncode, log)
                    if time.monotonic() - began > timeout_seconds:
                        raise too_slow(kind, timeout_seconds, log)
                    time.sleep(POLL_SECONDS)
                    url = url or announced_url(log)
            yield ServerProcess(url, MODEL_NAME, kind, process.pid, time.monotonic() - began)
        except ServingError as error:
            # The client of a server that is gone learns only that the connection broke.
            if error.rule != ENDED_RULE and has_ended(process):
                raise ended(kind, process.returncode, log) from error
            raise
        finally:
            stop(process)


def tensorflow_serving(config_directory: str) -> tuple[str, list[str]]:
    """The URL and command line of TensorFlow Serving: the deployment's, but for the ports."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # It has no option to turn gRPC off, so that gets a socket in the file system, by a relative path: the system takes
    # 107 bytes at most.
    return f"http://127.0.0.1:{port}", [
        TENSORFLOW_SERVING,
        *deployment_flags.flags(config_directory),
        f"--rest_api_port={port}",
        "--port=0",
        "--grpc_socket_path=grpc",
        # By default it tries to load a broken model again and again for five minutes.
        "--max_num_load_retries=0",
    ]


def embedded(config_directory: str) -> list[str]:
    """The command line of the embedded server, which takes the same, chooses a port and prints its URL."""
    where = ["--host", "127.0.0.1", "--port", "0", "--disable-grpc"]
    return [sys.executable, "-m", "serving", *deployment_flags.flags(config_directory), *where]


def environment() -> dict[str, str]:
    """This process' environment, with the project's code in reach and no GPU."""
    code = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [code, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": "-1"}


def announced_url(log: Path) -> str | None:
    """The URL that the embedded server printed; None as long as it hasn't."""
    found = ANNOUNCED_URL.search(log.read_text("utf-8", "replace"))
    return found[1] if found else None


def answers(url: str) -> bool:
    """Whether the model takes requests."""
    from serving.client.rest_transport import RestTransport
    from serving.client.waiting import run_at_once

    transport = RestTransport(url, MODEL_NAME, timeout_seconds=10.0, retries=0)
    try:
        status = run_at_once(transport.request("GET", ""))["model_version_status"]
    except (ServingError, KeyError):
        return False
    finally:
        run_at_once(transport.close())
    return any(version["state"] == "AVAILABLE" for version in status)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process is gone, or about to be."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    return process.returncode is not None


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process, by force if it doesn't end when asked to."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


ENDED_RULE = "a server must load the exported model and go on answering"


def ended(kind: str, code: int, log: Path) -> ServingError:
    """The error of a server that ended by itself."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return ServingError(
        ENDED_RULE,
        received=f"{kind} ended with {how}: {end_of(log)}",
        remedy="correct what its log says; --force export makes a damaged model anew",
    )


def too_slow(kind: str, timeout_seconds: float, log: Path) -> ServingError:
    """The error of a server that isn't ready in time."""
    return ServingError(
        f"a server must load the exported model within {timeout_seconds:g} seconds",
        received=f"{kind}, which doesn't answer yet: {end_of(log)}",
        remedy="allow more with --validate.timeout_seconds",
    )


def end_of(log: Path) -> str:
    """The last lines of a log, as one."""
    lines = [" ".join(line.split()) for line in log.read_text("utf-8", "replace").splitlines()]
    return " / ".join([line for line in lines if line][-SHOWN_LINES:])[-SHOWN_CHARACTERS:] or "nothing in its log"
