"""Requests of a few bytes that tell of huge tensors, ranks and nestings: refused, and the server goes on."""

import gzip
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import input_pb2, predict_pb2, prediction_service_pb2_grpc

from serving.server.limits import tensor_size
from serving.server.messages import read_records, read_tensor
from serving.server.rest import json_text
from serving.server.rest.examples import read_examples
from serving.server.rest.json_text import LARGEST_NUMBER_OF_VALUES, parse
from serving.server.status import StatusError

MOST_GROWTH_BYTES = 300 << 20
STRING, FLOAT = types_pb2.DT_STRING, types_pb2.DT_FLOAT


@pytest.fixture(scope="module")
def stub(server: SimpleNamespace) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(autouse=True)
def still_answers(request: pytest.FixtureRequest) -> Iterator[None]:
    """The server of the test runs on, and has not grown by much."""
    if "server" not in request.fixturenames:
        yield
        return
    server = request.getfixturevalue("server")
    before = server.process.memory_info().rss
    yield
    answer = httpx.post(f"{server.url}:predict", json={"instances": [3]}, trust_env=False, timeout=60)
    assert answer.json() == {"predictions": [3.5]}
    assert server.process.memory_info().rss - before < MOST_GROWTH_BYTES


def tensor(dtype: int, shape: list[int], **values: Any) -> tensor_pb2.TensorProto:
    message = tensor_pb2.TensorProto(dtype=dtype, **values)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


def predict(stub: Any, signature: str, name: str, message: tensor_pb2.TensorProto) -> str:
    """The code of the answer."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", signature
    request.inputs[name].CopyFrom(message)
    try:
        stub.Predict(request, timeout=30)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


SHAPES = [
    [1] * 33,
    [0] * 33,
    [1] * 300,
    [0] * 300,
    [1, 10**9],
    [10**9],
    [2**62],
    [2, 2**62],
    [2**62, 2**62],
    [2**63 - 1],
    [2**40, 0],
    [0, 2**62],
    [-1],
    [3, -2],
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"rank {len(shape)}, first {shape[0]}")
def test_a_shape_that_is_too_much_is_refused(stub: Any, shape: list[int]) -> None:
    for values in ({"string_val": [b"x"]}, {}):
        assert predict(stub, "text", "s", tensor(STRING, shape, **values)) == "INVALID_ARGUMENT"
    # Numbers may have 64 dimensions, and the product below has two.
    for values in ({"float_val": [1.0]}, {"float_val": [1.0, 2.0]}, {"tensor_content": b"1234"}, {}):
        assert predict(stub, "matmul", "x", tensor(FLOAT, shape, **values)) == "INVALID_ARGUMENT"


@pytest.mark.parametrize("nested", ['"x"', '{"b64": "AAAA"}'])
@pytest.mark.parametrize("depth", [33, 40, 64, 65, 300])
def test_strings_nested_deep_are_refused(server: SimpleNamespace, nested: str, depth: int) -> None:
    for key, lists in (("inputs", depth), ("instances", depth - 1)):
        value = "[" * lists + nested + "]" * lists
        body = f'{{"signature_name": "text", "{key}": {value if key == "inputs" else f"[{value}]"}}}'
        answer = httpx.post(f"{server.url}:predict", content=body, trust_env=False)
        assert answer.status_code == 400, answer.text
        assert "a tensor of strings must have at most 32 dimensions, and this one has " in answer.text


def test_ranks_at_the_limit_are_answered(server: SimpleNamespace, stub: Any) -> None:
    for signature, value, depth in (("text", '"x"', 32), ("serving_default", "1", 64)):
        body = f'{{"signature_name": "{signature}", "inputs": {"[" * depth}{value}{"]" * depth}}}'
        answer = httpx.post(f"{server.url}:predict", content=body, trust_env=False)
        assert answer.status_code == 200, answer.text
    assert predict(stub, "text", "s", tensor(STRING, [1] * 32, string_val=[b"x"])) == "OK"


def test_an_output_of_strings_with_more_dimensions_is_refused(server: SimpleNamespace, stub: Any) -> None:
    """The graph adds one to those of the request."""
    assert predict(stub, "deeper", "s", tensor(STRING, [1] * 31, string_val=[b"x"])) == "OK"
    assert predict(stub, "deeper", "s", tensor(STRING, [1] * 32, string_val=[b"x"])) == "INVALID_ARGUMENT"
    body = f'{{"signature_name": "deeper", "inputs": {"[" * 32}"x"{"]" * 32}}}'
    answer = httpx.post(f"{server.url}:predict", content=body, trust_env=False)
    assert answer.status_code == 400
    assert "An output of strings must have at most 32 dimensions" in answer.text


@pytest.mark.parametrize("number", [0, 2, 13, 20, 21, 35, 99, 101, 107, 120, 134, 2**31 - 1, -1])
def test_another_type_is_an_invalid_argument(stub: Any, number: int) -> None:
    """Types there are not, references, resources and variants among them."""
    for signature, name in (("text", "s"), ("serving_default", "x")):
        assert predict(stub, signature, name, tensor(number, [1])) == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "message",
    [
        tensor(STRING, [3], tensor_content=b"abc"),
        tensor(FLOAT, [3], tensor_content=b"abc"),
        tensor(FLOAT, [3], tensor_content=b"abcd"),
        tensor(types_pb2.DT_UINT8, [1], int_val=[300]),
        tensor(types_pb2.DT_HALF, [1], half_val=[70000]),
        tensor(types_pb2.DT_VARIANT, [1]),
        tensor(types_pb2.DT_RESOURCE, [1]),
    ],
    ids=range(7),
)
def test_other_values_than_the_shape_says_are_refused(message: tensor_pb2.TensorProto) -> None:
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: tensor parsing error: x: "):
        read_tensor("x", message)


def test_a_value_may_stand_for_all() -> None:
    assert read_tensor("x", tensor(STRING, [2, 2], string_val=[b"a"])).tolist() == [[b"a"] * 2] * 2
    assert read_tensor("x", tensor(STRING, [2], string_val=[b"a\0", b""])).tolist() == [b"a\0", b""]
    assert read_tensor("x", tensor(STRING, [], string_val=[b"a"])).tolist() == b"a"
    assert read_tensor("x", tensor(STRING, [0, 3])).shape == (0, 3)
    assert read_tensor("x", tensor(FLOAT, [3], float_val=[1.0, 2.0])).tolist() == [1, 2, 2]


def test_long_strings_count_as_often_as_they_stand_there() -> None:
    long = b"x" * (1 << 20)
    assert read_tensor("x", tensor(STRING, [100], string_val=[long])).shape == (100,)
    with pytest.raises(StatusError, match="a tensor must take at most"):
        read_tensor("x", tensor(STRING, [300], string_val=[long]))


def test_a_context_counts_as_often_as_there_are_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_size, "LARGEST_TENSOR_BYTES", 1000)
    message = input_pb2.Input()
    message.example_list_with_context.context.features.feature["c"].bytes_list.value.append(b"x" * 100)
    body: dict[str, Any] = {"context": {"c": "x" * 100}, "examples": []}
    for count in range(1, 12):
        message.example_list_with_context.examples.add()
        body["examples"].append({})
        if count < 8:
            assert len(read_records(message)) == len(read_examples(body)) == count
    for read in (lambda: read_records(message), lambda: read_examples(body)):
        with pytest.raises(StatusError, match="A context must take at most 1000 bytes in all examples together"):
            read()


@pytest.mark.parametrize("value", ["[],", "1,", '{"":{}},', '"",'])
def test_a_body_of_too_many_values_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "LARGEST_NUMBER_OF_VALUES", 100)
    parse(f'{{"inputs": [{value * 30}1]}}'.encode())
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: JSON Parse error: A body must have at most 100 values"):
        parse(f'{{"inputs": [{value * 101}1]}}'.encode())


def test_a_packed_body_of_millions_of_values_takes_no_memory(server: SimpleNamespace) -> None:
    packed = gzip.compress(f'{{"inputs": [{"[]," * (LARGEST_NUMBER_OF_VALUES + 1)}1]}}'.encode(), 6)
    assert len(packed) < 100_000
    headers = {"Content-Encoding": "gzip"}
    answer = httpx.post(f"{server.url}:predict", content=packed, headers=headers, trust_env=False, timeout=30)
    # A busy machine may take longer to unpack it than the server allows.
    assert answer.status_code in (400, 504)


def test_commas_in_a_string_are_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "LARGEST_NUMBER_OF_VALUES", 100)
    text = "[{," * 1000
    assert parse(json.dumps({"a": text + '\\"'}).encode()) == {"a": text + '\\"'}


def test_numbers_of_few_bytes_may_be_many(stub: Any) -> None:
    assert predict(stub, "scalar", "x", tensor(FLOAT, [1 << 22], float_val=[1.0])) == "OK"
    assert np.isfinite(read_tensor("x", tensor(FLOAT, [1 << 20], float_val=[1.0]))).all()
