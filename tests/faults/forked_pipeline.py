"""The pipeline's command in processes that needn't import TensorFlow: a process has imported all, and forks them.

The forked processes are real ones: they have their own command line, standard streams and exit code, can be killed or
stopped, and start children of their own. `Forks` is the side of the tests.
"""

import dataclasses
import importlib
import itertools
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.faults import system_calls
from tests.faults.system_calls import Fault

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        code: The exit code; minus the signal's number where one ended the process.
        output: Its standard output.
        error: Its standard error.
        changes: The changes below its directory, as `write root/runs/1/run.json`, where they were watched.
    """

    code: int
    output: str
    error: str
    changes: list[str]


class Run:
    """A run that was started.

    Args:
        place: Where its streams and its outcome go.
    """

    def __init__(self, place: Path) -> None:
        self.place = place

    @property
    def process(self) -> int:
        """The number of its process."""
        return int(self._read("process"))

    @property
    def output(self) -> str:
        """What it has written to its standard output so far."""
        path = self.place / "output"
        return path.read_text("utf-8", errors="replace") if path.exists() else ""

    def signal(self, number: int) -> bool:
        """Sends it a signal; whether it was still running."""
        if (self.place / "outcome").exists():
            return False
        try:
            os.kill(self.process, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, seconds: float = 300.0) -> Outcome:
        """Waits for its end.

        Raises:
            TimeoutError: If it takes longer; it is killed then.
        """
        try:
            ended = json.loads(self._read("outcome", seconds))
        except TimeoutError:
            self.signal(signal.SIGKILL)
            raise
        error = (self.place / "error").read_text("utf-8", errors="replace")
        return Outcome(ended["code"], self.output, error, ended["changes"])

    def _read(self, name: str, seconds: float = 60.0) -> str:
        limit = time.monotonic() + seconds
        while not (self.place / name).exists():
            if time.monotonic() > limit:
                raise TimeoutError(f"no {name} after {seconds:.0f} seconds; output so far: {self.output}")
            time.sleep(0.01)
        return (self.place / name).read_text("utf-8")


class Forks:
    """The process that forks runs, as a context.

    Args:
        directory: Where the runs' streams go; it must exist.

    Example:
        with Forks(tmp_path) as forks:
            outcome = forks.start(["--until", "ingest"], directory).wait()
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = itertools.count(1)

    def __enter__(self) -> "Forks":
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        environment["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
        command = [sys.executable, "-m", "tests.faults.forked_pipeline"]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def start(self, arguments: list[str], directory: Path, fault: Fault | None = None, *, watched: bool = False) -> Run:
        """Starts the pipeline's command.

        Args:
            arguments: Of the command line.
            directory: Its working directory. Changes below it are what a fault counts.
            fault: What is to happen to it.
            watched: Whether its changes are listed although there is no fault.
        """
        place = self.directory / str(next(self._numbers))
        place.mkdir()
        request = {"arguments": list(map(str, arguments)), "directory": str(directory), "place": str(place)}
        request |= {"watched": watched or fault is not None, "fault": fault and dataclasses.asdict(fault)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Run(place)


def serve() -> None:
    """Imports what the pipeline imports, and forks a process for each request on standard input."""
    import pipeline

    pipeline.choose_keras()
    import datasets  # noqa: F401
    import evaluate  # noqa: F401
    import h5py  # noqa: F401
    import tensorflow  # noqa: F401
    import tensorflow_text  # noqa: F401
    import tf_keras  # noqa: F401
    from tensorflow_serving.apis import prediction_log_pb2  # noqa: F401
    from transformers.models.bert import modeling_tf_bert  # noqa: F401

    import components
    import runners

    # Importing has no effect, and what is imported now can't change under the tests.
    for package in (components, runners):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                supervise(json.loads(line))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)


def supervise(request: dict[str, Any]) -> None:
    """Forks a run, watches it where that is asked for, and writes down how it ended."""
    place = Path(request["place"])
    fault = request["fault"] and Fault(**request["fault"])
    mine, theirs = socket.socketpair()
    process = os.fork()
    if process == 0:
        mine.close()
        run(request, theirs)
    theirs.close()
    publish(place / "process", str(process))
    if request["watched"]:
        status, changes = system_calls.watch(process, mine, request["directory"], fault)
    else:
        status, changes = os.waitpid(process, 0)[1], []
    publish(place / "outcome", json.dumps({"code": os.waitstatus_to_exitcode(status), "changes": changes}))


def publish(path: Path, text: str) -> None:
    """Writes a file that appears when it is complete."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)


def run(request: dict[str, Any], asking: socket.socket) -> None:
    """Is the pipeline's command; ends this process."""
    import pipeline

    place = Path(request["place"])
    for descriptor, name in ((0, os.devnull), (1, place / "output"), (2, place / "error")):
        file = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=True)
    temporary = place / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    os.chdir(request["directory"])
    sys.argv = ["pipeline.py", *request["arguments"]]
    if request["watched"]:
        system_calls.offer_watch(asking)
    asking.close()
    try:
        code = pipeline.command()
    except BaseException:
        traceback.print_exc()
        code = 70  # no exit code of the command
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
