"""TensorFlow Serving's gRPC PredictionService: predict, classify, regress, multi-inference and metadata."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from google.protobuf import any_pb2
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.server import metrics
from serving.server.example_signatures import EXAMPLE_METHODS, INPUT, LARGE_RECORDS, no_signature, require
from serving.server.grpc.server import Methods
from serving.server.limits import calls
from serving.server.limits.answer_size import Part, actual, message_bytes, refuse_over, too_large
from serving.server.limits.settings import Limits
from serving.server.limits.workers import LARGE_BYTES, LARGE_VALUES, convert
from serving.server.messages import (
    count_records,
    fill_model_spec,
    read_filter,
    read_inputs,
    read_records,
    tensor_bytes,
    write_classes,
    write_outputs,
    write_values,
)
from serving.server.models.served_models import ServedModels
from serving.server.signature import CLASSIFY_METHOD, DEFAULT_SIGNATURE, REGRESS_METHOD, Signature
from serving.server.status import Code, StatusError, invalid, unknown_label


class PredictionService:
    """The service's methods, from request message to response message.

    Args:
        models: The models that answer, by name.
        meter: Counts and times the requests.
        response_bytes: The largest response message.
    """

    name = "tensorflow.serving.PredictionService"

    def __init__(
        self,
        models: ServedModels,
        meter: metrics.Metrics | None = None,
        response_bytes: int = Limits.response_bytes,
    ) -> None:
        self.models = models
        self.meter = meter or metrics.Metrics()
        self.response_bytes = response_bytes

    def methods(self) -> Methods:
        """Request classes and methods, by the methods' names."""
        return {
            "Predict": (predict_pb2.PredictRequest, self.predict),
            "Classify": (classification_pb2.ClassificationRequest, self.classify),
            "Regress": (regression_pb2.RegressionRequest, self.regress),
            "MultiInference": (inference_pb2.MultiInferenceRequest, self.multi_inference),
            "GetModelMetadata": (get_model_metadata_pb2.GetModelMetadataRequest, self.get_model_metadata),
        }

    async def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Calls a signature.

        Raises:
            StatusError: As TensorFlow Serving does.
        """
        with self.metered(request, "Predict"), self.use(request) as (version, model):
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            signature = model.signatures.get(name)
            if signature is None:
                raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
            size = max(request.ByteSize(), tensor_bytes(request.inputs))
            await calls.hold("request", size)
            tensors = await convert(size > LARGE_BYTES, read_inputs, request.inputs, signature)
            wanted = read_filter(request.output_filter, signature)
            parts = await convert(size > LARGE_BYTES, model.sizes.expected, name, tensors, wanted)
            await self.make_room(parts)
            with self.meter.timed(metrics.RUNTIME_LATENCY, request.model_spec.name, "Predict", "TF1"):
                outputs = await model.call(name, tensors, wanted, parts)
            is_large = sum(tensor.size for tensor in outputs.values()) > LARGE_VALUES
            if is_large:
                refuse_over(self.response_bytes, message_bytes, actual(outputs))
            response = predict_pb2.PredictResponse()
            fill_model_spec(response.model_spec, request.model_spec.name, version, name)
            await convert(is_large, write_outputs, outputs, response.outputs)
            self.refuse_over(response)
            return response

    async def classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Calls a classify signature with examples.

        Raises:
            StatusError: As TensorFlow Serving does.
        """
        response = classification_pb2.ClassificationResponse()
        with self.metered(request, "Classify"):
            outputs, count = await self.run_examples(request, request.input, response, CLASSIFY_METHOD)
            await convert(count > LARGE_RECORDS, write_classes, response.result, outputs, count)
            self.refuse_over(response)
        return response

    async def regress(self, request: regression_pb2.RegressionRequest) -> regression_pb2.RegressionResponse:
        """Calls a regress signature with examples.

        Raises:
            StatusError: As TensorFlow Serving does.
        """
        response = regression_pb2.RegressionResponse()
        with self.metered(request, "Regress"):
            outputs, count = await self.run_examples(request, request.input, response, REGRESS_METHOD)
            await convert(count > LARGE_RECORDS, write_values, response.result, outputs, count)
        return response

    async def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        """Calls several classify and regress signatures of one model with the same examples.

        Raises:
            StatusError: As TensorFlow Serving does.
        """
        first = request.tasks[0] if request.tasks else inference_pb2.InferenceTask()
        response = inference_pb2.MultiInferenceResponse()
        with self.metered(first, "MultiInference"), self.use(first) as (version, model):
            read_tasks(request.tasks, model.signatures)
            # For all tasks at once: calls that wait for room while they hold some could wait for each other.
            await self.make_room_for_examples(model, request.input, request.tasks)
            for task in request.tasks:
                # All by the version that answers the first, though another may take over meanwhile.
                task.model_spec.version.value = version
                result = response.results.add()
                outputs, count = await self.run_examples(task, request.input, result, task.method_name, has_room=True)
                if task.method_name == CLASSIFY_METHOD:
                    await convert(count > LARGE_RECORDS, write_classes, result.classification_result, outputs, count)
                else:
                    await convert(count > LARGE_RECORDS, write_values, result.regression_result, outputs, count)
                self.refuse_over(response)
        return response

    async def run_examples(
        self, request: Any, sent: Any, response: Any, method: str, *, has_room: bool = False
    ) -> tuple[dict[str, np.ndarray], int]:
        """Calls a signature with examples, and says in the response what answered.

        Args:
            request: Names the model and signature.
            sent: The `Input` message with the examples.
            response: Has a `model_spec` to be filled.
            method: The method that the signature must have.
            has_room: Whether room for the answer was taken already.

        Returns:
            Its outputs, and how many examples there are.
        """
        with self.use(request) as (version, model):
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            signature = model.signatures.get(name)
            if signature is None:
                raise no_signature(name)
            kind, api = EXAMPLE_METHODS[method]
            require(signature, method, kind)
            if not has_room:
                await self.make_room_for_examples(model, sent, [request])
            records = await convert(sent.ByteSize() > LARGE_BYTES, read_records, sent)
            with self.meter.timed(metrics.RUNTIME_LATENCY, request.model_spec.name, api, "TF1"):
                outputs = await model.call(name, {INPUT: records})
            refuse_over(self.response_bytes, message_bytes, actual(outputs))
            fill_model_spec(response.model_spec, request.model_spec.name, version, name)
            return outputs, len(records)

    async def make_room_for_examples(self, model: Any, sent: Any, tasks: Iterable[Any]) -> None:
        """Waits for room for examples, and for what the signatures that tasks name answer to them.

        Raises:
            StatusError: INVALID_ARGUMENT for an answer over the limit.
        """
        count, size = count_records(sent)
        await calls.hold("request", size)
        records = {INPUT: np.empty(count, object)}
        names = [task.model_spec.signature_name or DEFAULT_SIGNATURE for task in tasks]
        await self.make_room([part for name in names for part in model.sizes.expected(name, records)])

    async def make_room(self, parts: list[Part]) -> None:
        """Waits for room for an answer that is yet to be computed.

        Raises:
            StatusError: INVALID_ARGUMENT for one over the limit.
        """
        await calls.hold("answer", refuse_over(self.response_bytes, message_bytes, parts))

    def refuse_over(self, response: Message) -> None:
        """Refuses an answer that turned out to be too large.

        Raises:
            StatusError: INVALID_ARGUMENT.
        """
        if response.ByteSize() > self.response_bytes:
            raise too_large(self.response_bytes, response.ByteSize())

    async def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Reports a model's signatures.

        Raises:
            StatusError: INVALID_ARGUMENT unless `signature_def` is asked for, and for unknown models as in predict.
        """
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        with self.use(request) as (version, model):
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            fill_model_spec(response.model_spec, request.model_spec.name, version, "")
            packed = any_pb2.Any()
            packed.Pack(model.signature_definition_map())
            response.metadata["signature_def"].CopyFrom(packed)
            return response

    def metered(self, request: Any, api: str) -> Any:
        """Counts and times the request that is answered in the context."""
        name = request.model_spec.name
        return self.meter.request(name if name in self.models else "", api, "GRPC")

    def use(self, request: Any) -> Any:
        """Lends the version that a request's `model_spec` names.

        Raises:
            StatusError: INVALID_ARGUMENT without a name or for a label, NOT_FOUND for an unknown model or version.
        """
        spec = request.model_spec
        if not spec.name:
            raise invalid("Missing ModelSpec")
        version = spec.version.value if spec.HasField("version") else None
        versions = self.models.get(spec.name)
        if spec.WhichOneof("version_choice") == "version_label":  # be it empty
            if versions is None:
                raise unknown_label(spec.version_label)
            version = versions.labelled(spec.version_label)
        if versions is None:
            wanted = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, {version})"
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return versions.use(version)


def read_tasks(tasks: Any, signatures: Mapping[str, Signature]) -> None:
    """Refuses tasks that TensorFlow Serving wouldn't answer together.

    Raises:
        StatusError: INVALID_ARGUMENT, UNIMPLEMENTED for a method that is neither classify nor regress.
    """
    seen: set[str] = set()
    for task in tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in seen:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        signature = signatures.get(name)
        if signature is None:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if task.method_name not in EXAMPLE_METHODS:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        require(signature, task.method_name, EXAMPLE_METHODS[task.method_name][0])
