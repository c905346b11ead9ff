"""Answers requests of the REST protocol: what TensorFlow Serving does, in its order."""

import dataclasses
import http
import re
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np

from serving.server import metrics
from serving.server.example_signatures import no_signature
from serving.server.limits import answer_size, calls
from serving.server.limits.answer_size import AnswerSizes, Measure, Part, actual, refuse_over, too_large
from serving.server.limits.settings import Limits
from serving.server.limits.threads import in_thread
from serving.server.limits.workers import LARGE_BYTES, LARGE_VALUES, convert
from serving.server.rest import json_text, reports, tensors_from_json, tensors_to_json, urls
from serving.server.rest.urls import Target, Verb
from serving.server.signature import DEFAULT_SIGNATURE, Signature
from serving.server.status import Code, StatusError, error_body, invalid, unknown_label

LARGEST_UNPACKED_BYTES = 100 * 1024 * 1024
PIECE_BYTES = 1 << 18
READ_FACTOR = 4
"""The memory of a body's values, as a multiple of the body's size."""
JSON = "application/json"


class Model(Protocol):
    """A loaded version."""

    signatures: dict[str, Signature]
    sizes: AnswerSizes

    async def call(
        self,
        signature_name: str,
        tensors: Mapping[str, np.ndarray],
        output_names: tuple[str, ...] | None = None,
        expected: list[Part] | None = None,
    ) -> dict[str, np.ndarray]:
        """Calls a signature."""

    def signature_definitions(self) -> dict[str, Any]:
        """The signatures as JSON."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP response.

    Attributes:
        status: The HTTP status.
        body: The bytes of the body.
        content_type: Their type.
    """

    status: int
    body: bytes
    content_type: str = JSON


def html_page(status: int) -> Answer:
    """The page of a request that isn't the protocol's to answer, as the HTTP library of TensorFlow Serving has it."""
    reason = http.HTTPStatus(status).phrase
    title = f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD>"
    return Answer(status, f"{title}<BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n".encode(), "text/html")


class RestService:
    """The protocol without its transport.

    Args:
        models: The models that answer, a `serving.server.models.served_models.ServedModels`.
        meter: Counts and times the requests.
        response_bytes: The largest body of an answer.
    """

    def __init__(
        self,
        models: Any,
        meter: metrics.Metrics | None = None,
        response_bytes: int = Limits.response_bytes,
    ) -> None:
        self.models = models
        self.meter = meter or metrics.Metrics()
        self.response_bytes = response_bytes

    async def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answers a request, whatever it is.

        Args:
            method: The HTTP method.
            target: Path, query and fragment, not decoded.
            headers: By name, looked up as `Content-Encoding` and `Origin`.
            body: As it came, packed if `Content-Encoding` says so.
        """
        if not urls.is_api(target):
            return html_page(404)
        if method == "OPTIONS":
            known = re.search("https?://", headers.get("Origin", ""))
            return Answer(200 if known else 400, b"", "text/html; charset=ISO-8859-1")
        try:
            wanted = urls.parse(method, target)
            if "gzip" in headers.get("Content-Encoding", "") and body:
                await calls.hold("request", READ_FACTOR * await in_thread(unpacked_bytes, body))
                body = await in_thread(unpack, body)
            else:
                await calls.hold("request", READ_FACTOR * len(body))
            return Answer(200, await self.respond(wanted, body))
        except StatusError as error:
            return Answer(error.code.http, error_body(error.message) if error.message else b"")

    async def respond(self, target: Target, body: bytes) -> bytes:
        """The body of the answer to a request.

        Raises:
            StatusError: If it can't be answered.
        """
        if target.verb is Verb.STATUS:
            return self.respond_status(target)
        if target.verb is Verb.METADATA:
            with self.use(target) as (version, model):
                return reports.metadata_body(target.model, version, model.signature_definitions())
        name = target.model if target.model in self.models else ""
        with self.meter.request(name, target.verb.value, "REST"):
            if target.verb is Verb.PREDICT:
                return await self.respond_predict(target, body)
            return await self.respond_examples(target, body)

    def respond_status(self, target: Target) -> bytes:
        """States of one version or all. A label in the URL is ignored, as TensorFlow Serving ignores it."""
        statuses = self.models.statuses(target.model)
        if not statuses:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {target.model}")
        if target.version is not None:
            statuses = [status for status in statuses if status.version == target.version]
            if not statuses:
                raise StatusError(Code.NOT_FOUND, f"Could not find version {target.version} of model {target.model}")
        return reports.status_body(statuses)

    async def respond_predict(self, target: Target, body: bytes) -> bytes:
        """The outputs of a signature for the rows or columns of a body."""
        is_large = len(body) > LARGE_BYTES
        request = await convert(is_large, read_request, body)
        name = request.get("signature_name") or DEFAULT_SIGNATURE
        with self.use(target) as (_, model):
            signature = find_signature(model, name)
            if not signature.inputs:
                raise invalid(f"Failed to get input map for signature: {request.get('signature_name') or 'DEFAULT'}")
            if "instances" not in request:
                if "inputs" not in request:
                    raise invalid("Missing 'inputs' or 'instances' key")
                read, write = partial(tensors_from_json.from_inputs, request["inputs"]), tensors_to_json.to_outputs
                measure = answer_size.column_bytes
            else:
                read = partial(tensors_from_json.from_instances, read_instances(request))
                write, measure = tensors_to_json.to_predictions, answer_size.row_bytes
            tensors = await convert(is_large, read, signature.inputs)
            outputs = await self.run(target, model, measure, name, tensors)
            values = sum(tensor.size for tensor in outputs.values())
            return self.bounded(await convert(values > LARGE_VALUES, write, outputs))

    async def run(
        self, target: Target, model: Model, measure: Measure, name: str, tensors: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Calls a signature, and notes how long that takes.

        Raises:
            StatusError: INVALID_ARGUMENT for an answer over the limit, before it is computed if its size is known.
        """
        is_large = sum(tensor.size for tensor in tensors.values()) > LARGE_VALUES
        parts = await convert(is_large, model.sizes.expected, name, tensors)
        await calls.hold("answer", refuse_over(self.response_bytes, measure, parts))
        with self.meter.timed(metrics.RUNTIME_LATENCY, target.model, target.verb.value.capitalize(), "TF1"):
            outputs = await model.call(name, tensors, expected=parts)
        if sum(tensor.size for tensor in outputs.values()) > LARGE_VALUES:
            refuse_over(self.response_bytes, measure, actual(outputs))
        return outputs

    def bounded(self, body: bytes) -> bytes:
        """The body of an answer, unless it is over the limit after all: as an escape a byte becomes six."""
        if len(body) > self.response_bytes:
            raise too_large(self.response_bytes, len(body))
        return body

    async def respond_examples(self, target: Target, body: bytes) -> bytes:
        """The results of a classify or regress signature for the examples of a body."""
        from serving.server.rest import examples

        is_large = len(body) > LARGE_BYTES
        request = await convert(is_large, read_request, body)
        name = request.get("signature_name") or DEFAULT_SIGNATURE
        records = await convert(is_large, examples.read_examples, request)
        with self.use(target) as (_, model):
            signature = model.signatures.get(name)
            if signature is None:
                raise no_signature(name)
            run = partial(self.run, target, model, answer_size.row_bytes)
            if target.verb is Verb.CLASSIFY:
                return self.bounded(await examples.classify(run, name, signature, records))
            return self.bounded(await examples.regress(run, name, signature, records))

    def use(self, target: Target) -> Any:
        """Lends the version that a request asks for.

        Raises:
            StatusError: NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for a label.
        """
        versions = self.models.get(target.model)
        if target.label is not None:
            if versions is None:
                raise unknown_label(target.label)
            return versions.use(versions.labelled(target.label))
        if versions is None:
            kind = "Latest" if target.version is None else "Specific"
            wanted = target.model if target.version is None else f"{target.model}, {target.version}"
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {kind}({wanted})")
        return versions.use(target.version)


def read_request(body: bytes) -> dict[str, Any]:
    """A body as an object with a fitting `signature_name`."""
    request = json_text.parse(body)
    if type(request) is not dict:
        raise invalid(f"JSON Value: {json_text.quote(request)} Is not object")
    if type(request.get("signature_name", "")) is not str:
        raise invalid(
            f"JSON Value: {json_text.quote(request)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return request


def read_instances(request: dict[str, Any]) -> list[Any]:
    """The `instances` of a request: a list with something in it, and no `inputs` beside it."""
    instances = request["instances"]
    if "inputs" in request:
        problem = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
    elif type(instances) is not list:
        problem = "Expecting 'instances' to be an list/array"
    elif not instances:
        problem = "No values in 'instances' array"
    else:
        return instances
    raise invalid(f"JSON Value: {json_text.quote(request)} {problem}")


def find_signature(model: Model, name: str) -> Signature:
    """A model's signature by name."""
    signature = model.signatures.get(name)
    if signature is None:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    return signature


def unpacked_bytes(body: bytes) -> int:
    """How much a body unpacks to, found out without keeping it: 100 KB may hold 100 MB."""
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    size, rest = 0, body
    try:
        while not unpacker.eof and size < LARGEST_UNPACKED_BYTES and (piece := unpacker.decompress(rest, PIECE_BYTES)):
            size, rest = size + len(piece), unpacker.unconsumed_tail
    except zlib.error:
        pass
    return size


def unpack(body: bytes) -> bytes:
    """A body without its gzip; one that doesn't unpack, or to over 100 MiB, or isn't all of it, counts as empty."""
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(body, LARGEST_UNPACKED_BYTES)
    except zlib.error:
        return b""
    return unpacked if unpacker.eof and not unpacker.unused_data else b""
