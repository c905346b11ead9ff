"""Thousands of malformed requests: no 500, no crash, no leak, and valid requests are answered meanwhile."""

import gzip
import http.client
import json
import os
import socket
import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW = int(os.environ.get("FUZZ_REQUESTS", "300"))
MANY = 10_000
ANSWERS = {200, 400, 404, 413, 429, 501, 503, 504}
LARGEST_GROWTH_BYTES = 100 << 20


class Connection:
    """A connection that sends any bytes as a request, and is opened anew when the server closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, method: str, head: bytes, body: bytes) -> tuple[int, bytes]:
        for attempt in (1, 2):
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=30)
            try:
                self._socket.sendall(head + body)
                response = http.client.HTTPResponse(self._socket, method=method)
                response.begin()
                answer = response.status, response.read()
                if response.will_close:
                    self.close()
                return answer
            except (ConnectionError, http.client.RemoteDisconnected):  # it was closed since the last answer
                self.close()
                if attempt == 2:
                    raise
        raise AssertionError

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([{"b64": "AP/+"}, {"b64": "_"}, {"b64": 1}, "<mask>", 1e400, -0.0, 2**31, 2**63])
)
NAMES = st.sampled_from(["x", "a", "i", "s", "b64", "q", ""])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
SIGNATURES = st.sampled_from(
    ["three", "text", "raw", "int8", "uint64", "matmul", "bool", "uneven", "scalar", "to_half", "from_half", "noin"]
) | st.text(max_size=5)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "instances": VALUES | st.lists(VALUES, max_size=3),
        "inputs": VALUES,
        "signature_name": SIGNATURES | SCALARS,
        "examples": VALUES,
        "context": VALUES,
    },
)
DEEP = st.integers(1, 3000).map(lambda depth: b'{"inputs":' + b"[" * depth + b"]" * (depth % 7 * depth // 6) + b"}")


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON of the protocol, JSON of anything, JSON cut or spoilt, nesting, or bytes."""
    kind = draw(st.integers(0, 9))
    if kind == 9:
        return draw(st.binary(max_size=200))
    if kind == 8:
        return draw(DEEP)
    body = json.dumps(draw(REQUESTS if kind < 7 else VALUES), ensure_ascii=draw(st.booleans())).encode(
        "utf-8", "surrogatepass"
    )
    if draw(st.integers(0, 3)) == 0:
        position = draw(st.integers(0, len(body)))
        body = body[:position] + draw(st.binary(max_size=4)) + body[position + draw(st.integers(0, 3)) :]
    return body


MODELS = st.sampled_from(["m", "m", "m", "m", "nope", "%6D", "%zz", "m%00", "a:b", ""])
PLACES = st.sampled_from(["", "", "", "/versions/7", "/versions/8", f"/versions/{2**64}", "/versions/x", "/labels/l"])
ACTIONS = st.sampled_from([":predict", ":predict", ":predict", ":classify", ":regress", ":PREDICT", ":x", "/metadata"])
PATHS = st.builds(lambda model, place, action: f"/v1/models/{model}{place}{action}", MODELS, PLACES, ACTIONS)
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """A method, a head and a body; HTTP itself is kept, so that an answer can be told from the next one."""
    method = draw(st.sampled_from(["POST"] * 8 + ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"]))
    target = draw(PATHS) if draw(st.integers(0, 7)) else "/" + draw(PRINTABLE)
    body = draw(bodies())
    lines = [f"{method} {target} HTTP/1.1", "Host: x"]
    encoding = draw(st.sampled_from(["", "", "", "gzip", "gzip", "deflate", "GZIP, x"]))
    if encoding:
        lines.append(f"Content-Encoding: {encoding}")
        packed = gzip.compress(body)
        body = draw(st.sampled_from([packed, packed[: len(packed) // 2], body, packed + packed]))
    if draw(st.booleans()):
        lines.append(f"Content-Type: {draw(PRINTABLE)}")
    if draw(st.integers(0, 15)) == 0:
        lines.append(f"Origin: {draw(PRINTABLE)}")
    if draw(st.integers(0, 7)) == 0:
        chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n" if body else b""
        return method, "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode(), chunk + b"0\r\n\r\n"
    return method, "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode(), body


class ValidAsker(threading.Thread):
    """Keeps asking what is valid, and counts the answers."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.done = threading.Event()
        self.answers: Counter[str] = Counter()

    def run(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self.done.wait(0.02):
                try:
                    answer = client.post(f"{self._url}:predict", json={"instances": [3]}).text
                except httpx.HTTPError as error:
                    answer = repr(error)
                self.answers[answer] += 1


def fuzz(server: SimpleNamespace, count: int) -> Counter[int]:
    """Sends so many requests, and tells how often each status came."""
    connection = Connection(server.port)
    statuses: Counter[int] = Counter()

    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(request=requests())
    def send(request: tuple[str, bytes, bytes]) -> None:
        method, head, body = request
        status, answer = connection.ask(method, head, body)
        statuses[status] += 1
        assert status in ANSWERS, (head, body, answer)
        if status >= 400 and answer.startswith(b"{"):
            assert list(json.loads(answer.decode("utf-8", "replace"), strict=False)) == ["error"], answer

    asker = ValidAsker(server.url)
    asker.start()
    try:
        send()
    finally:
        asker.done.set()
        asker.join()
        connection.close()
    assert list(asker.answers) == ['{\n    "predictions": [3.5\n    ]\n}'], asker.answers
    return statuses


def test_a_few_hundred_malformed_requests(server: SimpleNamespace) -> None:
    statuses = fuzz(server, FEW)
    assert sum(statuses.values()) >= FEW * 0.9
    assert {400, 404} <= set(statuses)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_malformed_requests_leave_nothing_behind(server: SimpleNamespace) -> None:
    fuzz(server, 500)  # after which memory pools and threads are there
    before, files = server.process.memory_info().rss, server.process.num_fds()
    statuses = fuzz(server, MANY)
    assert sum(statuses.values()) >= MANY
    assert server.process.memory_info().rss - before < LARGEST_GROWTH_BYTES
    assert server.process.num_fds() <= files + 5
    print(dict(statuses), f"{(server.process.memory_info().rss - before) / 1e6:.1f} MB more")


def test_bytes_that_are_no_http(server: SimpleNamespace) -> None:
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        start=st.sampled_from([b"", b"POST /v1/models/m:predict HTTP/1.1\r\n", b"GET / HTTP/9.9\r\n"]),
        rest=st.binary(max_size=300)
        | st.sampled_from(
            [
                b"Content-Length: -1\r\n\r\n",
                b"Content-Length: 99\r\n\r\n{",
                b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
                b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
                b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
                b"X: " + b"y" * 20_000 + b"\r\n\r\n",
            ]
        ),
    )
    def send(start: bytes, rest: bytes) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            answer = b""
            try:
                connection.sendall(start + rest)
                connection.shutdown(socket.SHUT_WR)
                while data := connection.recv(65536):
                    answer += data
            except ConnectionError:
                pass
            assert not answer.startswith((b"HTTP/1.1 500", b"HTTP/1.0 500")), (start, rest, answer)

    send()
    assert httpx.get(server.url, trust_env=False).status_code == 200


def test_a_client_that_leaves_does_not_stop_the_server(server: SimpleNamespace) -> None:
    body = b'{"signature_name": "slow", "inputs": [50]}'
    head = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head + body)
    assert httpx.get(server.url, trust_env=False, timeout=60).status_code == 200


GRPC_METHODS = (
    "PredictionService/Predict",
    "PredictionService/Classify",
    "PredictionService/MultiInference",
    "ModelService/HandleReloadConfigRequest",
)


def test_messages_that_are_no_grpc_requests(server: SimpleNamespace) -> None:
    import grpc

    allowed = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "PERMISSION_DENIED"}
    with grpc.insecure_channel(server.grpc) as channel:

        def call(method: str, message: bytes) -> tuple[str, Any]:
            try:
                channel.unary_unary(f"/tensorflow.serving.{method}")(message, timeout=30)
            except grpc.RpcError as error:
                return error.code().name, error.details()
            return "OK", ""

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            method=st.sampled_from([*GRPC_METHODS, "ModelService/X"]),
            message=st.binary(max_size=100) | st.just(b"\n\x03\n\x01m").flatmap(lambda m: st.binary().map(m.__add__)),
        )
        def send(method: str, message: bytes) -> None:
            code, details = call(method, message)
            is_told = code == "INTERNAL" and "the request is no tensorflow.serving." in details
            assert code in allowed or is_told, (code, details)

        send()
    assert httpx.get(server.url, trust_env=False).status_code == 200
