"""Classify, Regress and MultiInference over gRPC, on a model such as Estimators exported."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from serving.server.models.served_models import load
    from serving.server.server import running
    from tests.serving.server.example_model import save_classifier

    model = load(save_classifier(tmp_path_factory.mktemp("models") / "c" / "1"), "c")
    with running([model]) as at, grpc.insecure_channel(at.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)
    model.close()


def examples(message: Any, *values: float) -> None:
    for value in values:
        message.example_list.examples.add().features.feature["x"].float_list.value.append(value)


def classes(result: Any) -> list[list[tuple[str, float]]]:
    return [[(one.label, one.score) for one in row.classes] for row in result.classifications]


def refusal(call: Any, request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code().name, caught.value.details()


def test_classify(stub: Any) -> None:
    request = classification_pb2.ClassificationRequest()
    assert refusal(stub.Classify, request) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    request.model_spec.name = "c"
    assert refusal(stub.Classify, request) == ("INVALID_ARGUMENT", "Input is empty.")
    examples(request.input, 0.25, 1.0)
    response = stub.Classify(request)
    assert classes(response.result) == [[("yes", 0.25), ("no", 0.75)], [("yes", 1.0), ("no", 0.0)]]
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (1, "serving_default")
    request.model_spec.signature_name = "regress"
    code, message = refusal(stub.Classify, request)
    assert (code, message[:44]) == ("INVALID_ARGUMENT", "No classification inputs found in SignatureDef"[:44])


def test_regress_with_a_context(stub: Any) -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "c", "regress"
    shared = request.input.example_list_with_context
    shared.context.features.feature["x"].float_list.value.append(0.5)
    shared.examples.add()
    assert [one.value for one in stub.Regress(request).result.regressions] == [0.5]


def multi(*tasks: tuple[str, str], name: str = "c") -> Any:
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = name, signature
    examples(request.input, 0.25, 1.0)
    return request


def test_multi_inference(stub: Any) -> None:
    response = stub.MultiInference(multi(("", CLASSIFY), ("regress", REGRESS)))
    first, second = response.results
    assert classes(first.classification_result) == [[("yes", 0.25), ("no", 0.75)], [("yes", 1.0), ("no", 0.0)]]
    assert [one.value for one in second.regression_result.regressions] == [0.25, 1.0]
    assert [(one.model_spec.name, one.model_spec.version.value) for one in response.results] == [("c", 1), ("c", 1)]
    assert second.model_spec.signature_name == "regress"


def test_multi_inference_of_signatures_with_inputs_of_their_own(tmp_path: Path) -> None:
    """Those of the recorded model, which were traced apart."""
    from serving.server.models.served_models import load
    from serving.server.server import running
    from tests.serving.server.rest import recorded_model

    model = load(recorded_model.save(tmp_path / "c"))
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in (("classify", CLASSIFY), ("regress", REGRESS)):
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = "c", signature
    request.input.example_list.examples.add().features.feature["a"].float_list.value.extend([1, 2])
    with running([model]) as at, grpc.insecure_channel(at.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        first, second = stub.MultiInference(request).results
        assert classes(first.classification_result) == [[("c0", 1.0), ("c1", 2.0), ("x", 0.0)]]
        assert [one.value for one in second.regression_result.regressions] == [5.0]
        unknown = classification_pb2.ClassificationRequest(input=request.input)
        unknown.model_spec.name, unknown.model_spec.signature_name = "c", "nope"
        message = "No signature was found with the name: nope"
        assert refusal(stub.Classify, unknown) == ("INVALID_ARGUMENT", message)
        unknown = regression_pb2.RegressionRequest(model_spec=unknown.model_spec, input=request.input)
        assert refusal(stub.Regress, unknown) == ("INVALID_ARGUMENT", message)
    model.close()


def other_models() -> Any:
    request = multi(("", CLASSIFY), ("regress", REGRESS))
    request.tasks[1].model_spec.name = "d"
    return request


def nameless() -> Any:
    request = multi(("", CLASSIFY), ("regress", REGRESS))
    request.tasks[1].model_spec.name = ""
    return request


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (multi(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (multi(("", CLASSIFY), name="d"), "NOT_FOUND", "Servable not found for request: Latest(d)"),
        (nameless(), "INVALID_ARGUMENT", "Found ModelSpec with an empty model name."),
        (other_models(), "INVALID_ARGUMENT", "All ModelSpecs in a MultiInferenceRequest must access the same model"),
        (
            multi(("", CLASSIFY), ("serving_default", CLASSIFY)),
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: serving_default",
        ),
        (multi(("none", CLASSIFY)), "INVALID_ARGUMENT", "Requested signature not found in model graph: none"),
        (
            multi(("", "tensorflow/serving/predict")),
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (multi(("", REGRESS)), "INVALID_ARGUMENT", "No regression inputs found in SignatureDef"),
    ],
)
def test_tasks_that_are_refused(stub: Any, request_: Any, code: str, message: str) -> None:
    received, details = refusal(stub.MultiInference, request_)
    assert (received, details[: len(message)]) == (code, message)


def test_without_examples(stub: Any) -> None:
    request = multi(("", CLASSIFY))
    request.ClearField("input")
    assert refusal(stub.MultiInference, request) == ("INVALID_ARGUMENT", "Input is empty.")
