"""Answers over the limit are refused: before the graph runs where shapes tell it, else before they are written."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server.limits.answer_size import AnswerSizes, actual, column_bytes, message_bytes, row_bytes
from serving.server.messages import write_outputs
from serving.server.rest import tensors_to_json
from serving.server.rest.tensors_to_json import to_outputs, to_predictions
from serving.server.signature import Signature, TensorSpec
from tests.serving.server.example_model import save_classifier

LIMIT = 5000


@pytest.fixture(scope="module")
def served(example_version: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The example model as `m`, a classifier as `k`, a small limit, and what notes calls of a graph."""
    from serving.server.limits.settings import Limits
    from serving.server.metrics import Metrics
    from serving.server.models.served_models import load
    from serving.server.server import running

    meter = Metrics()
    classifier = save_classifier(tmp_path_factory.mktemp("k") / "1")
    models = [load(example_version.parent), load(classifier.parent, "k")]
    with (
        running(models, Limits(response_bytes=LIMIT), meter=meter) as at,
        httpx.Client(base_url=at.rest, trust_env=False) as client,
        grpc.insecure_channel(at.grpc) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        yield SimpleNamespace(client=client, stub=stub, meter=meter)
    for model in models:
        model.close()


def over_rest(served: SimpleNamespace, signature: str, name: str, value: np.ndarray, key: str = "inputs") -> str:
    """The error of an answer; nothing if there is none."""
    listed = [one.decode() for one in value] if value.dtype == object else value.tolist()
    body = {"signature_name": signature, key: listed}
    response = served.client.post("/v1/models/m:predict", json=body)
    assert response.status_code in (200, 400)
    assert len(response.content) <= LIMIT
    return response.json().get("error", "")


def by_rows(served: SimpleNamespace, signature: str, name: str, value: np.ndarray) -> str:
    return over_rest(served, signature, name, value, "instances")


def over_grpc(served: SimpleNamespace, signature: str, name: str, value: np.ndarray) -> str:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return refusal(served.stub.Predict, request)


def refusal(method: Callable[[Any], Any], request: Any) -> str:
    try:
        size, code, details = method(request).ByteSize(), "", ""
    except grpc.RpcError as error:
        size, code, details = 0, error.code().name, error.details()
    assert size <= LIMIT
    assert code in ("", "INVALID_ARGUMENT")
    return details


WAYS = pytest.mark.parametrize("ask", [over_rest, by_rows, over_grpc])


@WAYS
@pytest.mark.parametrize(
    ("signature", "name", "rows"),
    [
        ("serving_default", "x", lambda count: np.ones(count, np.float32)),
        # 100 scores for each id, as a language model has its vocabulary's.
        ("scores", "ids", lambda count: np.ones((count // 100, 1), np.int32)),
    ],
)
def test_shapes_tell_it_before_the_graph_runs(
    served: SimpleNamespace, ask: Callable[..., str], signature: str, name: str, rows: Callable[[int], np.ndarray]
) -> None:
    assert ask(served, signature, name, rows(100)) == ""
    before = runs(served)
    for count in (2000, 20_000):
        error = ask(served, signature, name, rows(count))
        assert error.startswith(f"An answer must have at most {LIMIT} bytes, and this one would have up to")
        assert f"being of the shape {list(rows(count).shape)[:1]}"[:-1] in error
        assert "--max-response-bytes" in error
    assert runs(served) == before
    assert ask(served, signature, name, rows(100)) == ""
    assert runs(served) == before + 1


def runs(served: SimpleNamespace) -> int:
    """How often a graph ran, as the metrics page tells it."""
    lines = served.meter.page().splitlines()
    return sum(float(line.split()[-1]) for line in lines if "runtime_latency_count{" in line)


@WAYS
def test_strings_tell_it_when_they_are_there(served: SimpleNamespace, ask: Callable[..., str]) -> None:
    assert ask(served, "text", "s", np.array([b"x" * 1000], object)) == ""
    assert "An answer must have at most" in ask(served, "text", "s", np.array([b"x" * LIMIT], object))
    assert "An answer must have at most" in ask(served, "raw", "s", np.array([b"x" * 2500] * 2, object))


@WAYS
def test_unknown_shapes_tell_it_when_they_are_there(served: SimpleNamespace, ask: Callable[..., str]) -> None:
    """The output's declared shape is (any, 1), since a row of the request should have 3 numbers."""
    assert ask(served, "matmul", "x", np.ones((100, 3), np.float32)) == ""
    assert "An answer must have at most" in ask(served, "matmul", "x", np.ones((30, 100, 3), np.float32))


def test_json_may_need_six_bytes_for_one(served: SimpleNamespace) -> None:
    text = np.array([b"\x01" * 1000], object)
    assert over_grpc(served, "text", "s", text) == ""
    assert f"and this one would have up to {len(to_outputs({'text': text}))}" in over_rest(served, "text", "s", text)


def test_the_way_out_may_be_grpc(served: SimpleNamespace) -> None:
    for count, is_small in ((700, True), (2000, False)):
        value = np.ones(count, np.float32)
        assert (over_grpc(served, "serving_default", "x", value) == "") is is_small
        assert ("ask over gRPC" in by_rows(served, "serving_default", "x", value)) is is_small


def test_only_the_outputs_that_are_asked_for_count(served: SimpleNamespace) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", "three"
    values = {"a": np.ones(700, np.float32), "i": np.ones(700, np.int64), "s": [b"xyz"] * 700}
    for name, value in values.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    assert "An answer must have" in refusal(served.stub.Predict, request)
    request.output_filter.append("doubled")
    assert refusal(served.stub.Predict, request) == ""


def test_examples_and_tasks_count_together(served: SimpleNamespace) -> None:
    classify, several = classification_pb2.ClassificationRequest(), inference_pb2.MultiInferenceRequest()
    classify.model_spec.name = "k"
    for signature, method in (("", "classify"), ("regress", "regress")):
        task = several.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "k", signature
    for count in (20, 600):
        for sent in (classify.input, several.input):
            while len(sent.example_list.examples) < count:
                sent.example_list.examples.add().features.feature["x"].float_list.value.append(0.5)
        body = {"examples": [{"x": 0.5}] * count}
        errors = [
            refusal(served.stub.Classify, classify),
            refusal(served.stub.MultiInference, several),
            served.client.post("/v1/models/k:classify", json=body).json().get("error", ""),
        ]
        assert [error.startswith("An answer must have at most") for error in errors] == [count == 600] * 3, errors


def test_a_limit_of_its_own_for_every_server() -> None:
    from serving.__main__ import limits
    from serving.server.options import make_parser

    options = make_parser().parse_args(["--model-dir", ".", "--max-response-bytes", "7", "--timeout-seconds", "3"])
    assert (limits(options).response_bytes, limits(options).call_seconds) == (7, 3)


DTYPES = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool", "object"]
CORNERS = {
    "f": [-1.17549435e-38, -3.40282347e38, 0.1, np.nan, -np.inf, 1e-45],
    "i": [-(2**7), -(2**15), -(2**31), -(2**63), 2**63 - 1, -1, 0],
    "u": [0, 2**8 - 1, 2**32 - 1, 2**64 - 1],
    "b": [True, False],
    "O": [b"", b"x" * 50, b"\xff\xfe"],
}


@st.composite
def outputs(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Up to three tensors of one first size."""
    rows = draw(st.integers(1, 6))
    found = {}
    for name in draw(st.lists(st.sampled_from(["y", "scores", "z_bytes"]), min_size=1, max_size=3, unique=True)):
        dtype = np.dtype(draw(st.sampled_from(DTYPES)))
        shape = (rows, *draw(st.lists(st.integers(0, 5), max_size=3)))
        corners = CORNERS[dtype.kind]
        if dtype.kind in "iu":
            corners = [n for n in corners if np.iinfo(dtype).min <= n <= np.iinfo(dtype).max]
        values = np.empty(shape, dtype)
        for place in np.ndindex(*shape):
            values[place] = draw(st.sampled_from(corners))
        found[name] = values
    return found


@given(tensors=outputs())
def test_nothing_is_larger_than_it_was_told(tensors: dict[str, np.ndarray]) -> None:
    parts = actual(tensors)
    # Bytes that are no text are no larger in JSON, but 0 to 31 are.
    assert len(to_predictions(tensors)) <= row_bytes(parts)
    assert len(to_outputs(tensors)) <= column_bytes(parts)
    response = predict_pb2.PredictResponse()
    write_outputs(tensors, response.outputs)
    assert response.ByteSize() <= message_bytes(parts)


@given(tensors=outputs(), at_once=st.integers(1, 8))
def test_large_tensors_are_written_in_turns_and_look_the_same(tensors: dict[str, np.ndarray], at_once: int) -> None:
    whole = to_predictions(tensors), to_outputs(tensors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors_to_json, "VALUES_AT_ONCE", at_once)
        assert (to_predictions(tensors), to_outputs(tensors)) == whole


def spec(dtype: str, *shape: int) -> TensorSpec:
    return TensorSpec(dtype, "t:0", shape)


ROW, PAIR = {"x": spec("float", -1)}, {"a": spec("int32", -1, -1), "b": spec("int32", -1, -1)}


@pytest.mark.parametrize(
    ("inputs", "output", "sent", "shape"),
    [
        (ROW, spec("float", -1, 7), {"x": (5,)}, (5, 7)),
        (PAIR, spec("float", -1, -1, 9), {"a": (5, 4), "b": (5, 4)}, (5, 4, 9)),
        # A request of no bytes may have any number of rows of nothing, each of which takes time.
        (PAIR, spec("float", -1, -1, 9), {"a": (5, 0), "b": (5, 0)}, (5, 1, 9)),
        (PAIR, spec("float", -1, -1, 9), {"a": (0, 4), "b": (0, 4)}, (0, 4, 9)),
        # Inputs of several sizes, and dimensions that no input has, tell nothing.
        (PAIR, spec("float", -1, -1), {"a": (5, 4), "b": (5, 3)}, (5, 1)),
        (ROW, spec("float", -1, -1, 3), {"x": (5,)}, (5, 1, 3)),
        ({"x": spec("float", -1, 3)}, spec("float", 8, 8), {"x": (5, 3)}, (8, 8)),
        ({"x": spec("float")}, TensorSpec("float", "t:0", None), {"x": ()}, ()),
    ],
)
def test_declared_shapes_have_the_requests_sizes(
    inputs: dict[str, TensorSpec], output: TensorSpec, sent: dict[str, tuple[int, ...]], shape: tuple[int, ...]
) -> None:
    sizes = AnswerSizes({"s": Signature(inputs, {"y": output})})
    tensors = {name: np.zeros(one, np.float32) for name, one in sent.items()}
    assert [part.shape for part in sizes.expected("s", tensors)] == [shape]
