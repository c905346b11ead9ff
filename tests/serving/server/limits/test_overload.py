"""More requests than a server has room for, sent by another process; and the end of a server that is busy."""

import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from test_server_command import started

LOAD = """
import collections, json, sys, threading, time, httpx
url, clients, seconds, body = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4].encode()
counts, lock, stop = collections.Counter(), threading.Lock(), time.monotonic() + float(seconds)
def ask():
    with httpx.Client(trust_env=False, timeout=60) as client:
        while True:
            try:
                answer = client.post(url, content=body)
                kind = f"{answer.status_code} {answer.json().get('error', '')[:60]}".strip()
            except httpx.HTTPError as error:
                kind = type(error).__name__
            with lock:
                counts[kind] += 1
            if time.monotonic() > stop:
                return
threads = [threading.Thread(target=ask) for _ in range(clients)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(counts))
"""
SLOW = {"signature_name": "slow", "inputs": [40]}


def load(url: str, clients: int, seconds: float, body: Any = SLOW) -> subprocess.Popen[str]:
    """A process with so many clients, each of which asks again as soon as it is answered."""
    command = [sys.executable, "-c", LOAD, f"{url}:predict", str(clients), str(seconds), json.dumps(body)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def counted(process: subprocess.Popen[str]) -> dict[str, int]:
    output, _ = process.communicate(timeout=120)
    return json.loads(output)


@pytest.mark.parametrize("options", [[], pytest.param(["--disable-batching"], marks=pytest.mark.slow)])
def test_what_is_too_much_gets_503_and_the_rest_an_answer(example_version: Path, options: list[str]) -> None:
    arguments = ["--model-dir", example_version.parent, "--port", 0, "--max-pending-requests", 4, *options]
    with started(*arguments) as process:
        url = process.stdout.readline().split()[-1]
        answers = counted(load(url, clients=24, seconds=1.5))
        refused = {kind: count for kind, count in answers.items() if not kind.startswith("200")}
        assert answers.get("200", 0) >= 4, answers
        assert refused
        assert all(kind.startswith("503 4 requests are being answered or wait") for kind in refused), answers
        assert httpx.post(f"{url}:predict", json={"inputs": [1]}, trust_env=False).json() == {"outputs": [2.5]}
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.slow
def test_a_full_batching_queue_gets_503(example_version: Path, tmp_path: Path) -> None:
    (tmp_path / "batching").write_text(
        "max_batch_size { value: 2 } max_enqueued_batches { value: 2 } num_batch_threads { value: 1 }"
    )
    arguments = ["--model-dir", example_version.parent, "--port", 0, "--enable-batching"]
    # Requests of two rows, each of which makes a full batch; the answer is a row only, which strictness refuses.
    with started(*arguments, "--batching-parameters-file", tmp_path / "batching") as process:
        url = process.stdout.readline().split()[-1]
        answers = counted(load(url, clients=16, seconds=1.0, body={"signature_name": "slow", "inputs": [40, 1]}))
        kinds = {kind.split()[0] for kind in answers}
        assert kinds == {"400", "503"}, answers
        assert any("batch scheduling queue" in kind for kind in answers), answers
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.parametrize("options", [pytest.param([], marks=pytest.mark.slow), ["--disable-batching"]])
def test_what_was_taken_is_answered_before_the_end(example_version: Path, options: list[str]) -> None:
    with started("--model-dir", example_version.parent, "--port", 0, *options) as process, ExitStack() as stack:
        url = process.stdout.readline().split()[-1]
        at = urlsplit(url)
        body = b'{"signature_name": "slow", "inputs": [60]}'
        head = (
            f"POST {at.path}:predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connections = [stack.enter_context(socket.create_connection((at.hostname, at.port), 60)) for _ in range(12)]
        for connection in connections:
            connection.sendall(head.encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue")  # now it has been taken
            connection.sendall(body)
        process.terminate()
        assert [connection.recv(1000)[:15] for connection in connections] == [b"HTTP/1.1 200 OK"] * 12
        assert process.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, trust_env=False)
