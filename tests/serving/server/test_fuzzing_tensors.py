"""Tensors of any rank, sizes, type and values, over both protocols: the server lives, in little memory, and answers."""

import contextlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2, prediction_service_pb2_grpc

from tests.serving.server.test_fuzzing import ValidAsker

REQUESTS = int(os.environ.get("FUZZ_TENSORS", "2000"))
MEMORY_BYTES = 1_500_000_000
"""What a server may take more than before at any moment: a tensor may take 256 MiB, and there are copies."""
LEFT_BYTES = 200 << 20
"""What it may keep: pools of threads and of memory."""
ANSWERS = {200, 400, 404, 413, 429, 501, 503, 504}
CODES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"}
CODES |= {"RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL"}
SIGNATURES = st.sampled_from(
    [
        *("", "three", "text", "raw", "deeper", "scores", "matmul", "scalar", "uneven", "to_half", "from_half"),
        *("bool", "double", "int8", "int64", "uint8", "uint32", "uint64", "noin", "none"),
    ]
)
INPUTS = st.sampled_from(["x", "x", "x", "s", "s", "ids", "a", "i", "q"])
SIZES = st.sampled_from([0, 1, 1, 1, 2, 3, 7, 1000, 10**5, 10**7, 10**9, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -1])
SHAPES = (
    st.lists(SIZES, max_size=4)
    | st.lists(st.integers(0, 4), max_size=6)
    | st.integers(0, 300).flatmap(lambda rank: st.sampled_from([[1] * rank, [0] * rank, [2] * rank]))
)
TYPES = st.sampled_from([1, 1, 1, 7, 7, 7, 3, 9]) | st.integers(-2, 40) | st.integers(100, 130)
FIELDS = {
    "float_val": st.floats(width=32),
    "double_val": st.floats(),
    "int_val": st.integers(-(2**31), 2**31 - 1),
    "int64_val": st.integers(-(2**63), 2**63 - 1),
    "uint32_val": st.integers(0, 2**32 - 1),
    "uint64_val": st.integers(0, 2**64 - 1),
    "half_val": st.integers(0, 2**16 - 1),
    "bool_val": st.booleans(),
    "string_val": st.binary(max_size=20) | st.just(b"x" * 50_000) | st.just(b"\xff\x00<mask>"),
    "scomplex_val": st.floats(width=32),
}


@st.composite
def tensors(draw: st.DrawFn, message: Any) -> None:
    """Fills a `TensorProto`."""
    message.dtype = draw(TYPES)
    for size in draw(SHAPES):
        message.tensor_shape.dim.add(size=size)
    if draw(st.integers(0, 19)) == 0:
        message.tensor_shape.unknown_rank = True
    if draw(st.integers(0, 4)) == 0:
        message.tensor_content = draw(st.binary(max_size=64))
    for field in draw(st.lists(st.sampled_from(list(FIELDS)), max_size=2)):
        getattr(message, field).extend(draw(st.lists(FIELDS[field], max_size=5)))


@st.composite
def predict_requests(draw: st.DrawFn) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = draw(st.sampled_from(["m"] * 9 + ["", "n"]))
    request.model_spec.signature_name = draw(SIGNATURES)
    for name in draw(st.lists(INPUTS, min_size=1, max_size=3, unique=True)):
        draw(tensors(request.inputs[name]))
    request.output_filter.extend(draw(st.lists(st.sampled_from(["y", "z", "upper", ""]), max_size=2)))
    return request


@st.composite
def example_requests(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from([classification_pb2.ClassificationRequest, inference_pb2.MultiInferenceRequest]))
    request = kind()
    for spec in [request] if hasattr(request, "model_spec") else [request.tasks.add() for _ in range(2)]:
        spec.model_spec.name, spec.model_spec.signature_name = "m", draw(SIGNATURES)
    shared = request.input.example_list_with_context
    shared.context.features.feature["x"].bytes_list.value.append(b"x" * draw(st.sampled_from([0, 10, 50_000])))
    for _ in range(draw(st.sampled_from([0, 1, 3, 20_000]))):
        shared.examples.add()
    return request


LARGEST_BODY = 99_000


def repeated(value: str, times: int) -> str:
    """A value as often as asked for, but for what would be over the limit of a body anyway."""
    return ",".join([value] * min(times, 1 + LARGEST_BODY // len(value)))


LEAVES = st.sampled_from(["x", 1, 1.5, True, None, {"b64": "AAAA"}, {"b64": "?"}, 2**63, -1, 1e300, "<mask>" * 100])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Nested lists in the row or the column format."""
    leaf = json.dumps(draw(LEAVES))
    depth = draw(st.integers(0, 6) | st.integers(25, 70) | st.sampled_from([300, 2000, 40_000]))
    value = "[" * depth + leaf + "]" * depth
    if draw(st.booleans()):
        value = f"[{repeated(value, draw(st.sampled_from([1, 2, 500])))}]"
    if draw(st.booleans()):
        value = json.dumps(draw(INPUTS)).join(("{", f":{value}}}"))
    rows = draw(st.sampled_from([1, 2, 3000]))
    key, whole = draw(st.sampled_from([("inputs", value), ("instances", f"[{repeated(value, rows)}]")]))
    return f'{{"signature_name": {json.dumps(draw(SIGNATURES))}, "{key}": {whole}}}'.encode()[:LARGEST_BODY]


@contextlib.contextmanager
def watched(server: SimpleNamespace) -> Iterator[None]:
    """Asks what is valid all the while, and looks at the memory; nothing may fail, and little may be left."""
    asker, done, most = ValidAsker(server.url), threading.Event(), [0]

    def look() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], server.process.memory_info().rss)

    before, looker = server.process.memory_info().rss, threading.Thread(target=look)
    asker.start()
    looker.start()
    try:
        yield
    finally:
        asker.done.set()
        asker.join()
        done.set()
        looker.join()
    # The server allows a call 2 seconds, which a machine with other work may not have for each.
    late = sum(count for answer, count in asker.answers.items() if "Timed out" in answer)
    right = asker.answers['{\n    "predictions": [3.5\n    ]\n}']
    assert right + late == sum(asker.answers.values()), asker.answers
    assert late <= right / 100, asker.answers
    assert most[0] - before < MEMORY_BYTES
    time.sleep(1)
    assert server.process.memory_info().rss - before < LEFT_BYTES


def fuzz_settings(count: int) -> settings:
    return settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_tensors_over_grpc(server: SimpleNamespace) -> None:
    codes: Counter[str] = Counter()
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        methods = {
            predict_pb2.PredictRequest: stub.Predict,
            classification_pb2.ClassificationRequest: stub.Classify,
            inference_pb2.MultiInferenceRequest: stub.MultiInference,
        }

        def ask(request: Any) -> None:
            code, details = "OK", ""
            try:
                methods[type(request)](request, timeout=60)
            except grpc.RpcError as error:
                code, details = error.code().name, error.details()
            codes[code] += 1
            assert code in CODES, (request, details)
            # TensorFlow's own operations may find a fault with what they are given, but this server may not fail.
            assert code != "INTERNAL" or "Error:" not in details, (request, details)

        @fuzz_settings(200)
        @given(predict_requests())
        def warm(request: Any) -> None:
            ask(request)

        @fuzz_settings(REQUESTS)
        @given(predict_requests() | predict_requests() | example_requests())
        def send(request: Any) -> None:
            ask(request)

        warm()
        with watched(server):
            send()
    assert {"OK", "INVALID_ARGUMENT"} <= set(codes), codes


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_tensors_over_rest(server: SimpleNamespace) -> None:
    statuses: Counter[int] = Counter()
    with httpx.Client(trust_env=False, timeout=60) as client:

        def ask(body: bytes, verb: str) -> None:
            status = client.post(f"{server.url}:{verb}", content=body).status_code
            statuses[status] += 1
            assert status in ANSWERS, (body[:500], status)

        @fuzz_settings(200)
        @given(bodies())
        def warm(body: bytes) -> None:
            ask(body, "predict")

        @fuzz_settings(REQUESTS)
        @given(bodies(), st.sampled_from(["predict"] * 8 + ["classify", "regress"]))
        def send(body: bytes, verb: str) -> None:
            ask(body, verb)

        warm()
        with watched(server):
            send()
    assert {200, 400} <= set(statuses), statuses
