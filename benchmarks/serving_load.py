"""Clients that put a server under load: coroutines of one process, each with a connection that it keeps open."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import re
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Load:
    """What clients saw.

    Attributes:
        durations: The seconds of every request.
        per_second: How many requests ended in a second.
        processor_seconds: The clients' own processor time.
    """

    durations: list[float]
    per_second: float
    processor_seconds: float


async def drive(ask: Callable[[str], Awaitable[None]], texts: list[str], clients: int, seconds: float) -> Load:
    """Lets clients ask, each the next text as soon as the last is answered."""
    following = itertools.cycle(texts)
    durations: list[float] = []
    began, processor_seconds = time.perf_counter(), time.process_time()

    async def client() -> None:
        while (start := time.perf_counter()) < began + seconds:
            await ask(next(following))
            durations.append(time.perf_counter() - start)

    await asyncio.gather(*(client() for _ in range(clients)))
    per_second = len(durations) / (time.perf_counter() - began)
    return Load(durations, per_second, time.process_time() - processor_seconds)


async def http_client(server: str, address: str, stack: contextlib.AsyncExitStack) -> Callable[[str], Awaitable[None]]:
    """Asks over HTTP; an answer that isn't 200 raises. A client library would cost as much as a server does."""
    url = urllib.parse.urlsplit(address)
    loop, idle = asyncio.get_running_loop(), []

    async def ask(text: str) -> None:
        if not idle:
            transport, connection = await loop.create_connection(HttpConnection, url.hostname, url.port)
            stack.callback(transport.close)
            idle.append(connection)
        connection = idle.pop()
        await connection.ask(url.path, json.dumps({"instances": [text]} if server == "rest" else {"text": text}))
        idle.append(connection)

    return ask


class HttpConnection(asyncio.Protocol):
    """A connection that is kept open, for one request after the other."""

    def connection_made(self, transport: Any) -> None:
        """Called by asyncio."""
        self._transport = transport

    async def ask(self, path: str, body: str) -> None:
        """Posts a body and waits for the whole answer."""
        self._received = b""
        self._answered = asyncio.get_running_loop().create_future()
        data = body.encode()
        self._transport.write(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
        )
        if not (await self._answered).startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"{path} answers {self._received[:500]!r}")

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end:
            length = int(re.search(rb"(?i)content-length: *([0-9]+)", head)[1])
            if len(body) >= length:
                self._answered.set_result(head)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        if not self._answered.done():
            self._answered.set_exception(error or EOFError("the server closed the connection"))


async def grpc_client(server: str, address: str, stack: contextlib.AsyncExitStack) -> Callable[[str], Awaitable[None]]:
    """Asks over gRPC."""
    import grpc
    from tensorflow.core.framework import types_pb2
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    async def ask(text: str) -> None:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "fill_mask"
        tensor = request.inputs["text"]
        tensor.dtype = types_pb2.DT_STRING
        tensor.tensor_shape.dim.add(size=1)
        tensor.string_val.append(text.encode())
        await stub.Predict(request)

    return ask
