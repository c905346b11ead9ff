"""Clients that send no HTTP, or half of it, or ask by a stranger's name; and a server that stops while others ask."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server.hosts import is_allowed
from serving.server.http_connection import LONGEST_HEAD_BYTES
from serving.server.limits.settings import Limits
from serving.server.rare_lines import RareLines

ASK = b'POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n{"instances": [3]}'
LIMITS = Limits(
    body_bytes=1 << 20, bodies_bytes=1 << 20, head_seconds=0.5, idle_seconds=2.0, call_seconds=2.0, connections=40
)


@pytest.fixture(scope="module")
def port(example_version: Path) -> Iterator[int]:
    from serving.server.models.served_models import load
    from serving.server.server import Access, running

    model = load(example_version.parent)
    with running([model], LIMITS, access=Access(allowed_hosts=("model.example", ".example.org"), cors=True)) as at:
        yield int(at.rest.rpartition(":")[2])
    model.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def can_send(connection: socket.socket, parts: Iterable[bytes], pause: float) -> bool:
    """Whether the server takes them all."""
    try:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
    except ConnectionError:
        return False
    return True


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionError:
        pass
    return answer


@pytest.mark.parametrize("sent", [b"G", ASK[:40], ASK[: -len(b'{"instances": [3]}') - 2]])
def test_a_head_that_is_sent_by_half_is_cut_off(port: int, sent: bytes) -> None:
    with connect(port) as connection:
        began = time.monotonic()
        connection.sendall(sent)
        assert read_all(connection) == b""
        assert 0.3 < time.monotonic() - began < 1.8


def test_a_head_that_comes_byte_by_byte_has_no_more_time(port: int) -> None:
    with connect(port) as connection:
        began = time.monotonic()
        assert not can_send(connection, (bytes([byte]) for byte in ASK * 20), 0.02)
        assert time.monotonic() - began < 3


def test_a_client_that_asks_again_and_again_is_not_cut_off(port: int) -> None:
    with connect(port) as connection:
        for _ in range(4):
            connection.sendall(ASK)
            assert connection.recv(65536).endswith(b'"predictions": [3.5\n    ]\n}')
            time.sleep(0.4)


def test_clients_that_ask_nothing_keep_out_nobody(port: int) -> None:
    for _ in range(10):
        began = time.monotonic()
        try:
            crowd_and_ask(port)
        except ConnectionError:
            # On a machine so busy that the crowd took a second to come, the older one's time was over.
            assert time.monotonic() - began > LIMITS.call_seconds / 2
        else:
            return
    pytest.fail("the machine was too busy each time")


def crowd_and_ask(port: int) -> None:
    """Asks twice among many who ask nothing: one asked half before they came, and one asks after them."""
    with contextlib.ExitStack() as stack:
        asking = stack.enter_context(connect(port))
        asking.sendall(ASK[:-1])
        idle = [stack.enter_context(connect(port)) for _ in range(2 * LIMITS.connections)]
        for connection in idle:
            can_send(connection, [ASK[:30]], 0)
        newest = stack.enter_context(connect(port))
        for connection in (newest, asking):  # the older one is being answered all the while
            connection.sendall(ASK if connection is newest else ASK[-1:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_is_sent_by_half_is_cut_off(port: int) -> None:
    with connect(port) as connection:
        began = time.monotonic()
        connection.sendall(ASK[:-1])
        assert read_all(connection).startswith(b"HTTP/1.1 504 ")
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("rest", [b"0x10\r\n", b"-1\r\nabc\r\n", b"3\r\nabcdef\r\n"])
@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_a_body_whose_rest_is_no_http_is_answered_at_once(
    port: int, rest: bytes, pause: float, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(port) as connection:
        began = time.monotonic()
        connection.sendall(
            b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
        )
        time.sleep(pause)
        connection.sendall(rest + b"\r\n")
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1") == 1
        assert time.monotonic() - began < LIMITS.call_seconds / 2
    assert not [record for record in caplog.records if record.exc_info]


def test_a_head_without_an_end_is_cut_off(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        lines = [b"X: " + b"y" * 1000 + b"\r\n"] * (1 + LONGEST_HEAD_BYTES // 1000)
        assert not can_send(connection, [*lines, *[b"Z: z\r\n"] * 100], 0.003)


def test_bodies_being_sent_share_their_memory(port: int) -> None:
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 700000\r\n\r\n"
    with connect(port) as first, connect(port) as second:
        first.sendall(head + b" " * 600_000)
        time.sleep(0.3)
        second.sendall(head + b" " * 600_000)
        answer = second.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert httpx.post(f"http://127.0.0.1:{port}/v1/models/m:predict", json={"instances": [3]}).status_code == 200
        read_all(first)
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/models/m:predict", content=b" " * 900_000 + b'{"instances": [3]}')
    assert answer.status_code == 200, "the memory came back"


def test_malformed_requests_cost_few_lines(port: int, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(50):
        with connect(port) as connection:
            connection.sendall((b"\x16\x03\x01", b"FOO / HTTP/1.1", b"GET \xff HTTP/1.1")[number % 3] + b"\r\n\r\n")
            assert read_all(connection).startswith((b"HTTP/1.0 400 ", b"HTTP/1.0 501 "))
    lines = [record for record in caplog.records if "no HTTP request" in record.message]
    assert 1 <= len(lines) <= 10
    assert all("\n" not in record.message and record.exc_info is None for record in caplog.records)


def test_lines_that_were_left_out_are_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(value=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.value)
    lines = RareLines(logging.getLogger("rare"), lines=2)
    for _ in range(5):
        lines.write("a")
    now.value += 61
    lines.write("b")
    assert [record.getMessage() for record in caplog.records] == [
        "a",
        "a",
        "3 more lines of this kind were left out",
        "b",
    ]


def test_an_answer_before_a_malformed_request_still_comes(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(ASK + b"nonsense\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"[3.5" in answer


def test_a_body_that_waits_for_leave_is_asked_for(port: int) -> None:
    head, _, body = ASK.partition(b"\r\n\r\n")
    with connect(port) as connection:
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("path", ["/", "/v1/models/m", "/monitoring/prometheus/metrics", "/script.js"])
def test_a_strangers_name_is_refused(port: int, path: str) -> None:
    answer = httpx.get(f"http://127.0.0.1:{port}{path}", headers={"Host": f"evil.example:{port}"})
    assert answer.status_code == 403
    assert answer.json()["error"].endswith("allow this one with --allowed-hosts evil.example")
    for host in ("localhost", "model.example", "a.b.example.org:80"):
        assert httpx.get(f"http://127.0.0.1:{port}{path}", headers={"Host": host}).status_code == 200


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_is_a_name_of_this_server(address, port: int) -> None:
    for host in (
        (f"[{address}]", f"[{address}]:{port}") if address.version == 6 else (f"{address}", f"{address}:{port}")
    ):
        assert is_allowed(host, ())


@pytest.mark.parametrize(
    ("host", "allowed", "expected"),
    [
        ("", (), True),
        ("server:8501", (), True),
        ("x.localhost", (), True),
        ("127.0.0.1.evil.example", (), False),
        ("localhost.evil.example", (), False),
        ("evil.example.", (), False),
        ("[evil.example]", (), False),
        ("A.Example", ("a.example",), True),
        ("a.example", (".example",), True),
        ("aexample.org", (".example.org",), False),
        ("anything.at.all", ("*",), True),
    ],
)
def test_names(host: str, allowed: tuple[str, ...], expected: bool) -> None:
    assert is_allowed(host, allowed) is expected


def test_pages_of_other_sites_may_read_where_they_are_let(port: int, client: httpx.Client) -> None:
    def allowed(method: str, path: str, **headers: str) -> dict[str, str]:
        answer = httpx.request(method, f"http://127.0.0.1:{port}{path}", headers=headers, trust_env=False)
        return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}

    expected = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "POST, GET",
        "access-control-allow-headers": "Content-Type",
    }
    assert allowed("GET", "/v1/models/m") == expected
    assert allowed("OPTIONS", "/v1/models/m:predict", Origin="https://a.example") == expected
    assert allowed("GET", "/v1/models/none") == expected
    for path in ("/", "/nothing", "/monitoring/prometheus/metrics"):
        assert allowed("GET", path) == {}, path
    assert "Access-Control-Allow-Origin" not in client.get("/v1/models/m").headers


def test_clients_are_told_that_the_server_stops(example_version: Path) -> None:
    """Busy ones get an answer to every request, the last of which says that the connection ends."""
    from serving.server.models.served_models import load
    from serving.server.server import running

    model = load(example_version.parent)
    answers: list[bytes] = []
    errors: list[Exception] = []

    def keep_asking(port: int) -> None:
        try:
            with connect(port) as connection:
                while True:
                    connection.sendall(ASK)
                    answers.append(connection.recv(65536))
                    if b"Connection: close" in answers[-1]:
                        return
                    time.sleep(0.05)
        except OSError as error:
            errors.append(error)

    with running([model]) as at:
        port = int(at.rest.rpartition(":")[2])
        askers = [threading.Thread(target=keep_asking, args=(port,)) for _ in range(20)]
        for asker in askers:
            asker.start()
        time.sleep(0.5)
        began = time.monotonic()
    assert time.monotonic() - began < 3
    for asker in askers:
        asker.join()
    assert not errors
    assert sum(b"Connection: close" in answer for answer in answers) == 20
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    model.close()
