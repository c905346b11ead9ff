"""Warm-up: calls that a version answers before it is served, so that no client waits for the first one."""

from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from foundation.versions import WARM_UP_REQUESTS
from serving.server.example_signatures import EXAMPLE_METHODS, INPUT, require
from serving.server.messages import read_inputs, read_records
from serving.server.models.saved_model import SavedModel, to_status
from serving.server.signature import CLASSIFY_METHOD, DEFAULT_SIGNATURE, REGRESS_METHOD, Signature
from serving.server.status import Code, StatusError, invalid

LARGEST_NUMBER_OF_REQUESTS = 1000
ATTEMPTS = 5
"""How often a request is asked that takes longer than a call may: the first call also makes what later ones reuse."""
TEXT = "text"
"""The input for texts in the signatures of a language model."""


def warm_up(model: SavedModel, iterations: int = 1) -> int:
    """Answers a version's warm-up requests, as TensorFlow Serving does: one that fails fails the version.

    They are a TFRecord file of `tensorflow.serving.PredictionLog` messages, at most 1,000: predict, classify,
    regress and multi-inference requests; an empty message is none. The model's name in them is not looked at.

    Args:
        model: The version.
        iterations: How often each is answered.

    Returns:
        How many there were.

    Raises:
        StatusError: If the file can't be read, or a request fails, or there are too many.
    """
    path = model.directory / WARM_UP_REQUESTS
    if not path.exists():
        return 0
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            count += 1
            if count > LARGEST_NUMBER_OF_REQUESTS:
                raise invalid(f"Number of warmup records exceeds the maximum ({LARGEST_NUMBER_OF_REQUESTS}) in {path}")
            for _ in range(iterations):
                replay_in_time(model, record, path, count)
    except tf.errors.OpError as error:
        raise to_status(error) from error
    return count


def replay_in_time(model: SavedModel, record: bytes, path: Path, number: int) -> None:
    """Answers one warm-up request, and asks it again where it took longer than a call may."""
    for _ in range(ATTEMPTS):
        try:
            return replay(model, record, path, number)
        except StatusError as error:
            if error.code is not Code.DEADLINE_EXCEEDED:
                raise
    raise StatusError(
        Code.DEADLINE_EXCEEDED,
        f"Warmup record {number} of {path} took longer than a call may, {ATTEMPTS} times one after the other; "
        "give calls more time by --timeout-seconds",
    )


def replay(model: SavedModel, record: bytes, path: Path, number: int) -> None:
    """Answers one warm-up request."""
    log = prediction_log_pb2.PredictionLog()
    try:
        log.ParseFromString(record)
    except DecodeError as error:
        raise invalid(f"Failed to parse warmup record {number} of {path}") from error
    match log.WhichOneof("log_type"):
        case None:  # nothing to answer
            return
        case "predict_log":
            request = log.predict_log.request
            name, signature = find_signature(model, request)
            model.run(name, read_inputs(request.inputs, signature))
        case "classify_log":
            run_examples(model, log.classify_log.request, log.classify_log.request.input, CLASSIFY_METHOD)
        case "regress_log":
            run_examples(model, log.regress_log.request, log.regress_log.request.input, REGRESS_METHOD)
        case "multi_inference_log":
            for task in log.multi_inference_log.request.tasks:
                run_examples(model, task, log.multi_inference_log.request.input, task.method_name)
        case other:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type of warmup record {number}: {other}")


def run_examples(model: SavedModel, request: Any, sent: Any, method: str) -> None:
    """Calls the signature that a request or task names with the examples of an `Input` message."""
    name, signature = find_signature(model, request)
    if method not in EXAMPLE_METHODS:
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method}")
    require(signature, method, EXAMPLE_METHODS[method][0])
    model.run(name, {INPUT: read_records(sent)})


def find_signature(model: SavedModel, request: Any) -> tuple[str, Signature]:
    """The signature that a request names, or the default, and its name."""
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = model.signatures.get(name)
    if signature is None:
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return name, signature
