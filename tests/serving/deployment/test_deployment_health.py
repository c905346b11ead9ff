"""A server that no longer answers is noticed and started anew: the probes, the health check and who watches it."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from tests.serving.deployment.test_deployment import DEPLOYMENT, MODEL_NAME, container, read_compose


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An embedded server with a model of the pushed name."""
    import tensorflow as tf

    from serving.server.models.served_models import load
    from serving.server.server import running

    module = tf.Module()
    module.same = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    base_path = tmp_path_factory.mktemp("serving") / MODEL_NAME
    tf.saved_model.save(module, str(base_path / "1"), signatures={"serving_default": module.same})
    model = load(base_path)
    with running([model]) as at:
        yield at.rest
    model.close()


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_ask_for_the_models_status(server: str, probe: str) -> None:
    asked = container()[probe]["httpGet"]
    assert asked["port"] == "rest"
    states = httpx.get(f"{server}{asked['path']}", trust_env=False).json()["model_version_status"]
    assert [state["state"] for state in states] == ["AVAILABLE"]


def test_a_replica_is_ended_later_than_it_is_taken_off_the_service() -> None:
    ready, live = container()["readinessProbe"], container()["livenessProbe"]
    assert ready["timeoutSeconds"] < live["timeoutSeconds"]
    assert ready["periodSeconds"] < live["periodSeconds"]


HEALTHCHECK = DEPLOYMENT / "healthcheck.sh"
STATUS = b'{"model_version_status": [{"version": "1", "state": "%s"}]}'


def check_health(port: int, seconds: str = "4", model: str = MODEL_NAME) -> int:
    """The exit code of the health check that the compose file runs, against another port."""
    test = read_compose()["services"]["serving-cpu"]["healthcheck"]["test"]
    assert test[:3] == ["CMD", "bash", "/config/healthcheck.sh"]
    command = ["bash", HEALTHCHECK, model, str(port), seconds]
    return subprocess.run(command, timeout=10, stderr=subprocess.DEVNULL).returncode


@contextmanager
def answering(answer: bytes | None, trickle_seconds: float = 0.0) -> Iterator[int]:
    """The port of a server that gives every request these bytes, one by one if they trickle; None for none at all."""
    is_over = threading.Event()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    if answer is None:
                        is_over.wait()
                        continue
                    connection.recv(4096)
                    for part in (bytes([byte]) for byte in answer) if trickle_seconds else [answer]:
                        connection.sendall(part)
                        is_over.wait(trickle_seconds)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            is_over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(("model", "code"), [(MODEL_NAME, 0), ("another", 1)])
def test_the_health_check_tells_whether_the_model_serves(server: str, model: str, code: int) -> None:
    assert check_health(int(server.rsplit(":", 1)[1]), model=model) == code


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n" + STATUS % b"AVAILABLE", 0),
        (b"HTTP/1.1 200 OK\r\n\r\n" + STATUS % b"END", 1),
        (b"HTTP/1.1 404 Not Found\r\n\r\n" + STATUS % b"AVAILABLE", 1),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n" + STATUS % b"AVAILABLE", 1),
        (b"SSH-2.0-OpenSSH_9.6 200 AVAILABLE\r\n", 1),
        (b"", 1),
    ],
)
def test_the_health_check_reads_what_is_answered(answer: bytes, code: int) -> None:
    with answering(answer) as port:
        assert check_health(port) == code


@pytest.mark.parametrize(
    ("answer", "trickle_seconds"), [(None, 0.0), (b"HTTP/1.1 200 OK\r\n\r\n" + STATUS % b"AVAILABLE", 0.2)]
)
def test_the_health_check_fails_in_time_where_nobody_answers(answer: bytes | None, trickle_seconds: float) -> None:
    with answering(answer, trickle_seconds) as port:
        began = time.monotonic()
        assert check_health(port, "0.5") == 124
        assert time.monotonic() - began < 3


def test_the_health_check_fails_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert check_health(port) == 1


# It answers so many requests and takes any more without a word, as a server does whose threads all wait.
WEDGING_SERVER = """
import signal, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
for _ in range(int(sys.argv[1])):
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 500 Internal Server Error\\r\\n\\r\\n")
    connection.close()
    print("answered", flush=True)
signal.pause()
"""


@contextmanager
def watched(script: str, *arguments: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """A program under `watched.sh`, checked every 0.2 seconds."""
    command = [
        "bash",
        DEPLOYMENT / "watched.sh",
        MODEL_NAME,
        str(port),
        "0.2",
        sys.executable,
        "-c",
        script,
        *arguments,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_a_server_that_stops_answering_is_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    script = WEDGING_SERVER.replace('("127.0.0.1", 0)', f'("127.0.0.1", {port})')
    with watched(script, "2", port=port) as process:
        # Errors are answers.
        assert [process.stdout.readline().strip() for _ in range(3)] == [str(port), "answered", "answered"]
        assert process.wait(20) == 128 + signal.SIGKILL
        assert "REST took three requests and answered none" in process.stderr.read()


def test_a_server_that_does_not_listen_yet_is_left_alone_and_ends_as_it_likes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with watched("import time; time.sleep(1); raise SystemExit(7)", port=port) as process:
        assert process.wait(20) == 7
        assert process.stderr.read() == ""


def test_a_watched_server_is_stopped_as_without() -> None:
    script = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print(1, flush=True); "
    with answering(b"HTTP/1.1 500\r\n\r\n") as port, watched(script + "signal.pause()", port=port) as process:
        process.stdout.readline()
        process.terminate()
        assert process.wait(20) == 5
