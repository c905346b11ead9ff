"""The gRPC services, asked by tensorflow-serving-api's own stubs."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server.messages import read_filter
from serving.server.signature import Signature, TensorSpec


@pytest.fixture(scope="module")
def stubs(example_version: Path) -> Iterator[SimpleNamespace]:
    from serving.server.limits.settings import Limits
    from serving.server.models.served_models import load
    from serving.server.server import running

    model = load(example_version.parent, timeout_seconds=2.0)
    with running([model], Limits(body_bytes=1 << 20)) as at, grpc.insecure_channel(at.grpc) as channel:
        yield SimpleNamespace(
            prediction=prediction_service_pb2_grpc.PredictionServiceStub(channel),
            model=model_service_pb2_grpc.ModelServiceStub(channel),
            channel=channel,
        )
    model.close()


def predict_request(signature: str = "", name: str = "m", version: int | None = None, **inputs: Any) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return request


def test_predict(stubs: SimpleNamespace) -> None:
    response = stubs.prediction.Predict(predict_request(x=np.array([3, 4], np.float32), version=7))
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), np.array([3.5, 4], np.float32))
    assert response.model_spec.name == "m"
    assert response.model_spec.version.value == 7
    assert response.model_spec.signature_name == "serving_default"


def test_strings_half_floats_and_filters(stubs: SimpleNamespace) -> None:
    request = predict_request("three", a=np.ones(1, np.float32), i=np.ones(1, np.int64), s=["\u00e9\0".encode()])
    request.output_filter.extend(["upper"])
    response = stubs.prediction.Predict(request)
    assert list(response.outputs) == ["upper"]
    assert tf.make_ndarray(response.outputs["upper"]).tolist() == ["é\0".encode()]
    response = stubs.prediction.Predict(predict_request("to_half", x=np.array([1.5], np.float32)))
    assert tf.make_ndarray(response.outputs["y"]).dtype == np.float16


def test_a_filter_is_the_same_in_any_order() -> None:
    spec = TensorSpec("float", "x:0")
    signature = Signature({}, {"a": spec, "b": spec}, "")
    assert read_filter(["b", "a"], signature) == read_filter(["a", "b"], signature) == ("a", "b")
    assert read_filter([], signature) is None


@pytest.mark.parametrize(
    ("name", "field"),
    [
        *((name, "int_val") for name in ("int8", "uint8", "int16", "int32")),
        *((name, f"{name}_val") for name in ("int64", "uint32", "uint64", "double", "bool")),
        ("serving_default", "float_val"),
    ],
)
def test_values_stand_in_the_field_of_their_type(stubs: SimpleNamespace, name: str, field: str) -> None:
    """Many programs read `float_val` and the like, as TensorFlow Serving fills them by default."""
    kind = {"double": np.float64, "bool": np.bool_, "serving_default": np.float32}.get(name) or np.dtype(name)
    response = stubs.prediction.Predict(predict_request(name, x=np.ones(3, kind)))
    [tensor] = response.outputs.values()
    assert len(getattr(tensor, field)) == 3
    assert tf.make_ndarray(tensor).dtype == kind


def test_metadata(stubs: SimpleNamespace) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "m"
    response = stubs.prediction.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].inputs["x"].name == "serving_default_x:0"


def test_status(stubs: SimpleNamespace) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    [status] = stubs.model.GetModelStatus(request).model_version_status
    assert (status.version, status.state) == (7, get_model_status_pb2.ModelVersionStatus.AVAILABLE)


def huge() -> Any:
    request = predict_request(x=np.ones(1, np.float32))
    request.inputs["x"].tensor_shape.dim[0].size = 2**50
    return request


def misshapen() -> Any:
    request = predict_request(x=np.ones(3, np.float32))
    request.inputs["x"].tensor_content = b"123"
    return request


def filtered() -> Any:
    request = predict_request(x=np.ones(1, np.float32))
    request.output_filter.extend(["z"])
    return request


ONE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (predict_request(name="", x=ONE), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (predict_request(name="nope", x=ONE), "NOT_FOUND", "Servable not found for request: Latest(nope)"),
        (predict_request(version=9, x=ONE), "NOT_FOUND", "Servable not found for request: Specific(m, 9)"),
        (predict_request("nosig", x=ONE), "FAILED_PRECONDITION", 'Serving signature key "nosig" not found.'),
        (predict_request(x=np.ones(1, np.int32)), "INVALID_ARGUMENT", "to be float but int32 is provided"),
        (predict_request(bad=ONE), "INVALID_ARGUMENT", "Signature input alias: x(feed name: serving_default_x:0)"),
        (predict_request(x=ONE, y=ONE), "INVALID_ARGUMENT", "input size does not match signature: 2!=1"),
        (predict_request("matmul", x=np.ones((1, 2), np.float32)), "INVALID_ARGUMENT", "[1,2], In[1]: [3,1]"),
        (predict_request("slow", x=np.array([1e9], np.float32)), "DEADLINE_EXCEEDED", "Timed out"),
        (filtered(), "INVALID_ARGUMENT", "output tensor alias not found in signature: z"),
        (huge(), "INVALID_ARGUMENT", "tensor parsing error: x"),
        (misshapen(), "INVALID_ARGUMENT", "tensor parsing error: x"),
    ],
)
def test_errors(stubs: SimpleNamespace, request_: Any, code: str, message: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stubs.prediction.Predict(request_)
    assert caught.value.code().name == code, caught.value.details()
    assert message in caught.value.details()
    response = stubs.prediction.Predict(predict_request(x=ONE))
    assert tf.make_ndarray(response.outputs["y"]).tolist() == [2.5]


STRING = tf.string.as_datatype_enum


def strings(shape: list[int], **values: Any) -> Any:
    request = predict_request("text", s=["x"])
    request.inputs["s"].CopyFrom(tf.make_tensor_proto(["x"]))
    request.inputs["s"].Clear()
    request.inputs["s"].dtype = STRING
    for size in shape:
        request.inputs["s"].tensor_shape.dim.add(size=size)
    for field, value in values.items():
        if field == "tensor_content":
            request.inputs["s"].tensor_content = value
        else:
            getattr(request.inputs["s"], field).extend(value)
    return request


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"tensor_content": b"\x01\x00\x02abc"}, [b"a", b"", b"bc"]),
        ({"tensor_content": b"\x80\x01\x00\x00" + b"x" * 128}, [b"x" * 128, b"", b""]),
        ({"string_val": [b"a", b"b", b"c", b"d", b"e"]}, [b"a", b"b", b"c"]),
        ({"string_val": [b"a", b"b"]}, [b"a", b"b", b"b"]),
        ({}, [b"", b"", b""]),
    ],
)
def test_strings_however_they_are_packed(stubs: SimpleNamespace, values: dict[str, Any], expected: list[bytes]) -> None:
    response = stubs.prediction.Predict(strings([3], **values))
    assert tf.make_ndarray(response.outputs["text"]).tolist() == expected


@pytest.mark.parametrize("content", [b"\x01", b"\x01\x01\x01ab", b"\x01\x01\x01abcd", b"\xff" * 30, b"\x80"])
def test_strings_that_are_packed_wrongly_are_refused(stubs: SimpleNamespace, content: bytes) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stubs.prediction.Predict(strings([3], tensor_content=content))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_numbers_that_are_more_or_fewer_than_the_shape_says(stubs: SimpleNamespace) -> None:
    request = predict_request(x=ONE)
    tensor = request.inputs["x"]
    tensor.ClearField("tensor_content")
    tensor.tensor_shape.dim[0].size = 3
    for values, expected in (([1, 2, 3, 4], [2.5, 3, 3.5]), ([1, 2], [2.5, 3, 3]), ([], [2, 2, 2])):
        del tensor.float_val[:]
        tensor.float_val.extend(values)
        assert tf.make_ndarray(stubs.prediction.Predict(request).outputs["y"]).tolist() == expected


@pytest.mark.parametrize("number", [35, 99, 101, -1, 20, 21])
def test_a_type_that_there_is_not_is_refused(stubs: SimpleNamespace, number: int) -> None:
    request = predict_request(x=ONE)
    request.inputs["x"].dtype = number
    with pytest.raises(grpc.RpcError) as caught:
        stubs.prediction.Predict(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_an_empty_label_is_one(stubs: SimpleNamespace) -> None:
    request = predict_request(x=ONE)
    request.model_spec.version_label = ""
    with pytest.raises(grpc.RpcError) as caught:
        stubs.prediction.Predict(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "Unrecognized servable version label: "


def test_a_long_message_is_cut(stubs: SimpleNamespace) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stubs.prediction.Predict(predict_request("é" * 2000, x=ONE))
    assert caught.value.details().endswith("...TRUNCATED")
    assert len(caught.value.details().encode()) < 1100


def test_a_message_over_the_limit_is_refused(stubs: SimpleNamespace) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stubs.prediction.Predict(predict_request(x=np.ones(1 << 19, np.float32)))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_damaged_message_is_told_and_leaves_no_traceback(
    stubs: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    send = stubs.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as caught:
        send(b"\n\xff")
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert caught.value.details() == "Predict: the request is no tensorflow.serving.PredictRequest"
    assert caplog.records == []


def test_a_service_that_there_is_not(stubs: SimpleNamespace) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stubs.channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_status_of_an_unknown_model(stubs: SimpleNamespace) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    for name in ("nope", ""):
        request.model_spec.name = name
        with pytest.raises(grpc.RpcError) as caught:
            stubs.model.GetModelStatus(request)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    request.Clear()
    with pytest.raises(grpc.RpcError) as caught:
        stubs.model.GetModelStatus(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
