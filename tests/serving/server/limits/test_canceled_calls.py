"""Calls whose clients leave: they keep neither a place nor a turn from others."""

import collections
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2
from test_server_command import started

from serving.server.limits.settings import Limits
from serving.server.models.served_models import load
from serving.server.server import Access, running

PLACES = 4


def predict(signature: str, value: float) -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([value]))
    return request.SerializeToString()


def probes(channel: grpc.Channel, rest: str) -> list[Callable[[], Any]]:
    """What those ask who watch over a server; each raises where it is refused."""
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "m"
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata.model_spec.name = "m"
    calls = {
        "/tensorflow.serving.ModelService/GetModelStatus": status.SerializeToString(),
        "/tensorflow.serving.PredictionService/GetModelMetadata": metadata.SerializeToString(),
        "/grpc.health.v1.Health/Check": b"",
    }
    asks: list[Callable[[], Any]] = [
        lambda path=path, request=request: channel.unary_unary(path)(request, timeout=30)
        for path, request in calls.items()
    ]
    return asks + [
        lambda end=end: httpx.get(rest + end, trust_env=False).raise_for_status() for end in ("", "/metadata")
    ]


@pytest.fixture
def at(example_version: Path) -> Iterator[tuple[grpc.Channel, str]]:
    """A server with a single thread and few places, over gRPC and REST."""
    model = load(example_version.parent, timeout_seconds=1.0)
    limits = Limits(threads=1, pending_requests=PLACES)
    with (
        running([model], limits, access=Access(grpc_health=True)) as addresses,
        grpc.insecure_channel(addresses.grpc) as channel,
    ):
        yield channel, f"{addresses.rest}/v1/models/m"
    model.close()


def is_refused(ask: Any) -> bool:
    """Whether there is no place; a call that has one gets an error of its own, for which it needs no thread."""
    with pytest.raises(grpc.RpcError) as caught:
        ask(predict("none such", 1.0), timeout=30)
    code = caught.value.code()
    assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION)
    return code == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("protocol", ["gRPC", "REST"])
def test_a_canceled_call_frees_its_place_at_once_and_probes_need_none(
    at: tuple[grpc.Channel, str], protocol: str
) -> None:
    channel, rest = at
    ask = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    body = b'{"signature_name": "slow", "inputs": [1e9]}'
    url = httpx.URL(rest)
    head = f"POST {url.path}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def begin() -> Callable[[], Any]:
        """Begins a call, and returns what cancels it."""
        if protocol == "gRPC":
            return ask.future(predict("slow", 1e9)).cancel
        return socket_to(url, head + body).close

    leave = [begin() for _ in range(PLACES)]
    deadline = time.monotonic() + 60
    while not is_refused(ask):
        assert time.monotonic() < deadline
        leave.append(begin())  # where the machine is busy, the first may have ended
    for probe in probes(channel, rest):
        probe()
    for leave_one in leave:
        leave_one()
    began = time.monotonic()
    while is_refused(ask):
        assert time.monotonic() < deadline
    ask(predict("slow", 0.0), timeout=30)
    # One graph was running, which has a second; the others never began.
    assert time.monotonic() - began < 0.75 * PLACES


def socket_to(url: httpx.URL, data: bytes) -> socket.socket:
    connection = socket.create_connection((url.host, url.port), 60)
    connection.sendall(data)
    return connection


@pytest.mark.slow
@pytest.mark.parametrize("by", ["cancel", "deadline"])
def test_clients_that_cancel_all_the_time_keep_nobody_from_an_answer(example_version: Path, by: str) -> None:
    arguments = ["--model-dir", example_version.parent, "--port", 0, "--grpc-port", 0]
    with started(*arguments, "--enable-grpc-healthcheck-service") as process:
        rest = process.stdout.readline().split()[-1]
        while not (line := process.stdout.readline()).startswith("gRPC:"):
            assert line
        target = line.split()[-1]
        storm, answers, problems = collections.Counter(), collections.Counter(), []
        end = time.monotonic() + 5

        def alone() -> grpc.Channel:
            return grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])

        def cancel() -> None:
            with alone() as channel:
                ask, request = (
                    channel.unary_unary("/tensorflow.serving.PredictionService/Predict"),
                    predict("slow", 1.0),
                )
                while time.monotonic() < end:
                    call = ask.future(request, timeout=0.008 if by == "deadline" else None)
                    time.sleep(0.01)
                    call.cancel()
                    storm["calls"] += 1

        def repeat(what: str, ask: Callable[[], Any]) -> None:
            while time.monotonic() < end:
                try:
                    ask()
                except Exception as error:
                    problems.append(f"{what}: {error}")
                answers[what] += 1

        with alone() as channel:
            ask, request = channel.unary_unary("/tensorflow.serving.PredictionService/Predict"), predict("slow", 1.0)
            threads = [threading.Thread(target=cancel) for _ in range(10)]
            threads.append(threading.Thread(target=repeat, args=("predict", lambda: ask(request, timeout=60))))
            for number, probe in enumerate(probes(channel, rest)):
                threads.append(threading.Thread(target=repeat, args=(f"probe {number}", probe)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        process.terminate()
        assert process.wait(30) == 0
        assert not problems, problems[:3]
        assert storm["calls"] > 200
        assert len(answers) == 6
        assert min(answers.values()) >= 2, answers
