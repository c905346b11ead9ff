"""A server over the example model."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest


@pytest.fixture(scope="session")
def example_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example model as version 7 of a base path named `m`."""
    from tests.serving.server import example_model

    return example_model.save(tmp_path_factory.mktemp("models") / "m" / "7")


@pytest.fixture(scope="session")
def client(example_version: Path) -> Iterator[httpx.Client]:
    """An HTTP client of a running server with the example model, which allows a call 2 seconds."""
    from serving.server.limits.settings import Limits
    from serving.server.models.served_models import load
    from serving.server.server import running

    model = load(example_version.parent, timeout_seconds=2.0)
    limits = Limits(body_bytes=1 << 20)
    with running([model], limits) as at, httpx.Client(base_url=at.rest, timeout=30, trust_env=False) as http:
        yield http
    model.close()


@pytest.fixture(scope="session")
def server(example_version: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A server in a process of its own, so that its memory and its threads can be told from the test's."""
    command = [sys.executable, "-m", "serving", "--model-dir", str(example_version.parent), "--port", "0"]
    command += ["--grpc-port", "0", "--timeout-seconds", "2", "--max-body-bytes", "100000"]
    # A file, since a pipe that nobody reads fills up, and then stops the server.
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        lines = [process.stdout.readline()]
        while not lines[-1].startswith("gRPC:"):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        url = lines[0].split()[-1]
        port = int(url.split("/")[2].split(":")[1])
        yield SimpleNamespace(
            port=port, grpc=lines[-1].split()[-1], url=url, process=psutil.Process(process.pid), popen=process
        )
        process.terminate()
        assert process.wait(30) == 0
        # A fault of the server would have left its traceback; gRPC notes messages that do not parse.
        assert str(Path(__file__).parents[3] / "serving") not in log.read_text(), log.read_text()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
