"""A call has one deadline, whatever it spends its time on."""

import asyncio
import contextlib
import gc
import json
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server.limits import calls
from serving.server.limits.calls import SMALL_BYTES, Call, Room
from serving.server.limits.threads import in_thread
from serving.server.limits.workers import Workers
from serving.server.status import StatusError, invalid

SECONDS = 0.4
SLOW = {"signature_name": "slow", "inputs": [1e9]}
PATH = "/v1/models/m:predict"


@pytest.fixture(scope="module")
def at(example_version: Path) -> Iterator[SimpleNamespace]:
    """A server that allows a call less than half a second; a graph alone may run for one."""
    from serving.server.batching.parameters import ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED
    from serving.server.batching.scheduler import BatchScheduler
    from serving.server.limits.settings import Limits
    from serving.server.models.served_models import load
    from serving.server.server import running

    scheduler = BatchScheduler(ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED)
    model = load(example_version.parent, timeout_seconds=1.0, scheduler=scheduler)
    with running([model], Limits(call_seconds=SECONDS), allow_reload_config=True) as addresses:
        yield SimpleNamespace(rest=addresses.rest, grpc=addresses.grpc, base=example_version.parent)
    model.close()
    scheduler.close()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    answer = work()
    return time.monotonic() - began, answer


def post(at: SimpleNamespace, body: Any) -> httpx.Response:
    return httpx.post(at.rest + PATH, content=json.dumps(body), trust_env=False, timeout=60)


def connected(at: SimpleNamespace, length: int) -> socket.socket:
    """A connection over which the head of a request has gone out."""
    url = urlsplit(at.rest)
    connection = socket.create_connection((url.hostname, url.port), timeout=60)
    connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
    return connection


def assert_late(seconds: float, said: str) -> None:
    # The graph has a second of its own, and another message.
    assert SECONDS * 0.9 <= seconds < 10
    assert "Timed out waiting for notification: a call must be answered within 0.4 seconds" in said


def test_a_slow_graph(at: SimpleNamespace) -> None:
    seconds, answer = timed(lambda: post(at, SLOW))
    assert answer.status_code == 504
    assert_late(seconds, answer.text)


def test_a_slow_graph_over_grpc(at: SimpleNamespace) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", "slow"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1e9]))
    with grpc.insecure_channel(at.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=60)
    assert caught.value.code().name == "DEADLINE_EXCEEDED"
    assert_late(time.monotonic() - began, caught.value.details())


def test_a_body_that_comes_slowly(at: SimpleNamespace) -> None:
    with connected(at, 100) as connection:
        connection.sendall(b"{")
        seconds, answer = timed(lambda: connection.recv(10_000))
        connection.sendall(b" " * 99)  # or the server would wait some seconds for the rest
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert_late(seconds, answer.decode())


def test_a_queue(at: SimpleNamespace) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: timed(lambda: post(at, SLOW)), range(8)))
    for seconds, answer in answers:
        assert answer.status_code == 504
        assert_late(seconds, answer.text)
    # What was given up holds the threads for the graph's own time, and no longer.
    deadline = time.monotonic() + 30
    while post(at, {"instances": [3]}).status_code != 200:
        assert time.monotonic() < deadline


def test_a_client_that_does_not_take_its_answer_is_cut_off(example_version: Path) -> None:
    from serving.server.limits.settings import Limits
    from serving.server.models.served_models import load
    from serving.server.server import running

    model = load(example_version.parent)
    body = json.dumps({"signature_name": "text", "inputs": ["x" * (16 << 20)]}).encode()
    with running([model], Limits(call_seconds=1.0)) as at, connected(at, len(body)) as connection:
        connection.sendall(body)
        time.sleep(2.5)
        # What is left in the system's buffers, then the end.
        received = []
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(1 << 20):
                received.append(data)
        assert received[0].startswith(b"HTTP/1.1 200 ")
        assert sum(map(len, received)) < len(body)
    model.close()


def test_loading_models_takes_what_it_takes(at: SimpleNamespace) -> None:
    text = f"""config {{ model_config_list {{
        config {{ name: 'm' base_path: '{at.base}' model_platform: 'tensorflow' }}
        config {{ name: 'n' base_path: '{at.base}' model_platform: 'tensorflow' }} }} }}"""
    with grpc.insecure_channel(at.grpc) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        request = text_format.Parse(text, model_management_pb2.ReloadConfigRequest())
        assert stub.HandleReloadConfigRequest(request, timeout=60).status.error_code == 0


# ---- room for what is large


def test_room_is_given_in_the_order_of_asking() -> None:
    async def ask() -> list[str]:
        room, told = Room(10), []

        async def take(name: str, size: int) -> None:
            taken = await room.take(size)
            told.append(f"{name} has {taken}")
            await asyncio.sleep(0)
            room.give(taken)
            told.append(f"{name} gave")

        given_up = asyncio.create_task(take("first", 6))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(take(name, size)) for name, size in (("big", 99), ("small", 1))]
        gone = asyncio.create_task(take("gone", 10))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(given_up, *tasks)
        assert await room.take(10) == 10  # nothing was lost
        return told

    # More than there is stands for all; the small one would have had room, but came later.
    order = ["first has 6", "first gave", "big has 10", "big gave", "small has 1", "small gave"]
    assert asyncio.run(ask()) == order


def test_a_call_holds_room_until_it_has_ended_and_nothing_is_worked_on() -> None:
    async def hold() -> None:
        workers = Workers(1, 10, answer_bytes=2 * SMALL_BYTES)
        workers.start()
        may_end = threading.Event()

        async def answer() -> None:
            await calls.hold("answer", 2 * SMALL_BYTES)
            await in_thread(may_end.wait, 60)

        call = workers.begin(60)
        client = asyncio.create_task(workers.do(answer, call))
        for _ in range(5):
            await asyncio.sleep(0)
        client.cancel()
        call.end()
        late = workers.begin(0.05)
        waiting = asyncio.create_task(workers.do(answer, late))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        may_end.set()
        with pytest.raises(StatusError, match="DEADLINE_EXCEEDED"):
            await waiting
        late.end()
        after = workers.begin(60)
        await workers.do(answer, after)
        assert after.holds_room
        after.end()
        assert not after.holds_room
        await workers.stop()

    asyncio.run(hold())


def test_what_is_small_needs_no_room() -> None:
    async def hold() -> bool:
        room = Room(0)
        call = Call(60, room, room)
        await call.hold("request", SMALL_BYTES)
        return call.holds_room

    assert not asyncio.run(hold())


def test_a_refused_request_leaves_nothing_behind(example_version: Path) -> None:
    """Without Python's collector, which comes by seldom."""
    from serving.server.batching.parameters import ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED
    from serving.server.batching.scheduler import BatchScheduler
    from serving.server.models.batched_model import BatchedModel
    from serving.server.models.saved_model import SavedModel

    scheduler = BatchScheduler(ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED)
    model = BatchedModel(SavedModel(example_version), scheduler, 60.0)

    async def ask() -> list[Any]:
        workers, seen = Workers(1, 10), []

        async def answer() -> None:
            tensor = np.ones((1, 2), np.float32)
            seen.append(weakref.ref(tensor))
            await model.call("matmul", {"x": tensor})

        async def refuse() -> None:
            tensor = np.ones(3)
            seen.append(weakref.ref(tensor))
            raise invalid("no")

        for method in (answer, refuse):
            call = workers.begin(60)
            with pytest.raises(StatusError, match="INVALID_ARGUMENT"):
                await workers.do(method, call)
            call.end()
        await workers.stop()
        return seen

    gc.disable()
    try:
        seen = asyncio.run(ask())
        scheduler.close()
        assert [reference() is None for reference in seen] == [True, True]
    finally:
        gc.enable()
    model.close()
