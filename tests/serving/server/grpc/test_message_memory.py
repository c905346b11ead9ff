"""How much memory clients of gRPC can make the server take, and whether they can keep others from being answered."""

import contextlib
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import psutil
import pytest

BODY = 16 << 20
AT_ONCE = 3
CONNECTIONS = 100
SERVER = f"""
import asyncio, sys
from google.protobuf.struct_pb2 import Value
from serving.server.grpc.server import GrpcServer
from serving.server.limits.bodies import Bodies
from serving.server.limits.receptions import Receptions
from serving.server.limits.workers import Workers

class Service:
    name = "test.Service"

    def methods(self):
        return {{"Length": (Value, self.length)}}

    async def length(self, request):
        await asyncio.sleep(0.2)
        return Value(number_value=len(request.string_value))

async def main():
    workers = Workers(2, 200)
    workers.start()
    server = GrpcServer(
        [Service()], workers, {BODY}, 20.0, Bodies({AT_ONCE * BODY}, {BODY}), Receptions({AT_ONCE}, 200),
        connections={CONNECTIONS},
    )
    print(await server.start("127.0.0.1", 0), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    root = Path(__file__).parents[4]
    log = tmp_path_factory.mktemp("server") / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=root,
        ) as process,
    ):
        try:
            port = int(process.stdout.readline())
            yield SimpleNamespace(port=port, process=psutil.Process(process.pid), log=log)
            process.stdin.close()
            assert process.wait(30) == 0
        finally:
            process.kill()


def ask(port: int, message: bytes) -> str:
    """The code of the answer."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary("/test.Service/Length")(message, timeout=60)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def text(length: int) -> bytes:
    """A serialized `google.protobuf.Value` that holds a text."""
    from google.protobuf.struct_pb2 import Value

    return bytes(Value(string_value="x" * length).SerializeToString())


def peak_mib(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process's memory is read from /proc")
def test_large_messages_at_once_take_a_limited_memory(server: SimpleNamespace) -> None:
    """40 clients with 15 MiB each, 600 MiB, of which the server never has more than half."""
    message = text(15 << 20)
    before = peak_mib(server.process)
    codes: list[str] = []
    clients = [threading.Thread(target=lambda: codes.append(ask(server.port, message))) for _ in range(40)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert set(codes) <= {"OK", "UNAVAILABLE"}
    assert codes.count("OK") >= 1
    # Three that are being received, three that are answered, each as bytes, message and text, and copies on the way.
    assert peak_mib(server.process) - before < 300, codes
    assert ask(server.port, text(10)) == "OK"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(**others: str) -> bytes:
    """The bytes of a connection on which a call begins."""
    every = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/test.Service/Length",
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
        **others,
    }
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode("latin-1")
        for name, value in every.items()
    )
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block)


def half_sent() -> bytes:
    """The bytes of a connection on which a call begins a message of 15 MiB and sends no more than its first bytes."""
    return headers() + frame(0, 0, 1, b"\0" + struct.pack(">I", 15 << 20) + b"\x1a")


def test_messages_that_never_end_keep_nobody_waiting(server: SimpleNamespace) -> None:
    connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
    try:
        for connection in connections:
            connection.sendall(half_sent())
        # More of them than are received at once: they wait or are given up.
        assert ask(server.port, text(10)) == "OK"
    finally:
        for connection in connections:
            connection.close()
    assert ask(server.port, text(15 << 20)) == "OK"


def is_open(connection: socket.socket) -> bool:
    """Whether the server has begun to speak HTTP/2, and not closed the connection."""
    with contextlib.suppress(ConnectionError):
        return connection.recv(100) != b""
    return False


def test_only_so_many_clients_are_connected(server: SimpleNamespace) -> None:
    """Headers are in memory before Python sees any, and can be made to take fifty times what was sent."""
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            for _ in range(CONNECTIONS + 30)
        ]
        # A connection that was cut off may have refused these bytes.
        for connection in connections:
            with contextlib.suppress(ConnectionError):
                connection.sendall(headers())
        assert sum(map(is_open, connections)) <= CONNECTIONS
    assert ask(server.port, text(10)) == "OK"


def test_a_header_that_is_no_utf_8_costs_a_line(server: SimpleNamespace) -> None:
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(headers(x="\xbe\xbf"))
            assert is_open(connection)
    assert ask(server.port, text(10)) == "OK"
    said = server.log.read_text()
    assert "Traceback" not in said
    assert 1 <= said.count("a header is no UTF-8") <= 11
