"""The classify and regress requests in JSON: examples of named features in, labels with scores or numbers out."""

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from serving.server.example_signatures import INPUT, LARGE_RECORDS, read_classes, read_values, require
from serving.server.limits import tensor_size
from serving.server.limits.workers import convert
from serving.server.rest import json_text, tensors_from_json
from serving.server.rest.tensors_to_json import encode, quoted, to_decimals
from serving.server.signature import CLASSIFY_METHOD, REGRESS_METHOD, Signature
from serving.server.status import invalid

Run = Callable[[str, dict[str, np.ndarray]], Awaitable[dict[str, np.ndarray]]]
"""Calls a signature by name."""


def read_examples(request: dict[str, Any]) -> np.ndarray:
    """The examples of a body, with its context in each, as serialized `tf.train.Example` messages.

    Returns:
        (examples,) object array of bytes.

    Raises:
        StatusError: INVALID_ARGUMENT if there are none, or a feature is mixed or of a type that examples lack.
    """
    context = to_features(request["context"]) if "context" in request else {}
    if "examples" not in request:
        # It says classify of a regress request too.
        problem = "When method is classify, key 'examples' is expected and was not found"
        raise invalid(f"JSON Value: {json_text.quote(request)} {problem}")
    examples = request["examples"]
    if type(examples) is not list:
        raise invalid(f"JSON Value: {json_text.quote(request)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {json_text.quote(request)} 'examples' value is an empty array")
    tensor_size.check_repeated(len(serialize(context)), len(examples))
    records = np.empty(len(examples), dtype=object)
    records[:] = [serialize({**context, **to_features(example)}) for example in examples]
    return records


def to_features(example: Any) -> dict[str, list[Any]]:
    """An example's features: the list of values of each, all of one kind."""
    if type(example) is not dict:
        raise invalid(f"Example must be JSON object but got JSON {json_text.type_name(example)}")
    features = {}
    for name, content in example.items():
        values = content if type(content) is list else [content]
        features[name] = [to_feature_value(name, value) for value in values]
        if len(set(map(type, features[name]))) > 1:
            raise invalid(f"Unexpected element type in feature: {name} expecting one type for all elements")
    return features


def to_feature_value(name: str, value: Any) -> bytes | int | float:
    """A feature's value: bytes, a 64-bit integer or a number."""
    if type(value) is bool:
        return int(value)
    if type(value) is str or tensors_from_json.is_base64(value):
        return tensors_from_json.to_bytes(value)
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if type(value) is float:
        return value
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {json_text.type_name(value)}")


def serialize(features: dict[str, list[Any]]) -> bytes:
    """Features as a `tf.train.Example` message."""
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        kind = type(values[0]) if values else None
        if kind is bytes:
            feature.bytes_list.value.extend(values)
        elif kind is int:
            feature.int64_list.value.extend(values)
        elif kind is float:
            feature.float_list.value.extend(values)
    return bytes(example.SerializeToString())


async def classify(run: Run, name: str, signature: Signature, records: np.ndarray) -> bytes:
    """`{"results": [[["label", score], …], …]}`."""
    require(signature, CLASSIFY_METHOD, "classification")
    outputs = await run(name, {INPUT: records})
    return await convert(len(records) > LARGE_RECORDS, write_classes, outputs, len(records))


def write_classes(outputs: dict[str, np.ndarray], count: int) -> bytes:
    """The body of a classification's answer."""
    labels, scores = read_classes(outputs, count)
    rows = []
    for row_labels, row_scores in zip(labels, scores, strict=True):
        pairs = zip(row_labels, to_decimals(row_scores), strict=True)
        cells = (f"[{quoted(label.decode('utf-8', 'surrogateescape'))}, {score}]" for label, score in pairs)
        rows.append(f"[{', '.join(cells)}]")
    return encode(f'{{\n    "results": [{", ".join(rows)}\n    ]\n}}')


async def regress(run: Run, name: str, signature: Signature, records: np.ndarray) -> bytes:
    """`{"results": [number, …]}`."""
    require(signature, REGRESS_METHOD, "regression")
    outputs = await run(name, {INPUT: records})
    return await convert(len(records) > LARGE_RECORDS, write_values, outputs, len(records))


def write_values(outputs: dict[str, np.ndarray], count: int) -> bytes:
    """The body of a regression's answer."""
    values = read_values(outputs, count)
    return encode(f'{{\n    "results": [{", ".join(to_decimals(values))}]\n}}')
