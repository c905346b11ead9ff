"""TensorFlow Serving's protobuf messages, read and written: those of gRPC calls and of warm-up requests."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.server.example_signatures import read_classes, read_values
from serving.server.limits import calls, tensor_size
from serving.server.signature import Signature
from serving.server.status import StatusError, invalid

LONGEST_MESSAGE_BYTES = 1024
VALUES_AT_ONCE = 1 << 16
"""How many values are converted at a time: Python's numbers take eight times the memory of those in a message."""
VALUES = (
    *("float_val", "double_val", "int_val", "int64_val", "uint32_val", "uint64_val", "bool_val", "half_val"),
    *("scomplex_val", "dcomplex_val"),
)
VALUE_FIELDS = {
    "object": "string_val",
    "float32": "float_val",
    "float64": "double_val",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val"),
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
}
NUMBERED_FIELDS = {
    np.dtype(name): (tf.as_dtype(np.dtype(name)).as_datatype_enum, field) for name, field in VALUE_FIELDS.items()
}
"""The number of each type in a message, and the field for its values."""


def read_inputs(inputs: Mapping[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    """A request's tensors, of the signature's names and types.

    Raises:
        StatusError: INVALID_ARGUMENT, naming the input at fault.
    """
    sent, required = set(inputs), set(signature.inputs)
    if len(sent) != len(required):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(required)} "
            f"len({braces(sent)}) != len({braces(required)}). Sent extra: {braces(sent - required)}. "
            f"Missing but required: {braces(required - sent)}."
        )
    tensors = {}
    for index, (alias, spec) in enumerate(signature.inputs.items()):
        if alias not in inputs:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {spec.tensor}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {braces(sent)}, or default input alias set: "
            )
        received = type_name(inputs[alias].dtype)
        if received != spec.dtype:
            raise invalid(f"Expects arg[{index}] to be {spec.dtype} but {received} is provided (input: {alias})")
        tensors[alias] = read_tensor(alias, inputs[alias])
    return tensors


def tensor_bytes(inputs: Mapping[str, Any]) -> int:
    """The memory of a request's tensors once they are read, each capped at the largest that is allowed."""
    return sum(
        tensor_size.bounded_bytes([dim.size for dim in inputs[alias].tensor_shape.dim], inputs[alias].string_val)
        for alias in inputs
    )


def type_name(number: int) -> str:
    """TensorFlow Serving's name of a type: `float`, `string`; an unknown number is shown as it is."""
    known = types_pb2.DataType.DESCRIPTOR.values_by_number.get(number)
    return f"type number {number}" if known is None else str(known.name).removeprefix("DT_").lower()


def read_tensor(alias: str, tensor: Any) -> np.ndarray:
    """One tensor out of its message. Values that are left out repeat the last one.

    Raises:
        StatusError: INVALID_ARGUMENT if it has other values than its shape says, or a rank or size over the limits.
    """
    sizes = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
        raise invalid(f"tensor parsing error: {alias}: its shape is not known")
    is_string = tensor.dtype == types_pb2.DT_STRING
    try:
        # Before anything of that shape is allocated: a message of a few bytes can claim any shape.
        if is_string:
            values = tensor.string_val
            if tensor.tensor_content:
                tensor_size.check(sizes, tensor_size.STRING_BYTES, is_string=True)
                values = unpack_strings(tensor.tensor_content, math.prod(sizes))
            tensor_size.check_strings(sizes, values)
            return read_strings(sizes, values)
        tensor_size.check(sizes, max(1, tf.as_dtype(tensor.dtype).size))
        if not tensor.tensor_content:
            drop_values(tensor, math.prod(sizes))
        return tf.make_ndarray(tensor)
    except StatusError as error:
        raise invalid(f"tensor parsing error: {alias}: {error.message}") from error
    except KeyError as error:  # a variant, say
        raise invalid(f"tensor parsing error: {alias}: {type_name(tensor.dtype)} is no type of values") from error
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise invalid(f"tensor parsing error: {alias}: {error}") from error


def read_strings(sizes: tuple[int, ...], values: Sequence[bytes]) -> np.ndarray:
    """Strings as an object array of bytes: the last one stands for those that are left out, and what is over is cut."""
    count = math.prod(sizes)
    array = np.empty(count, dtype=object)
    array[:] = values[-1] if values else b""
    given = values[:count]
    array[: len(given)] = list(given)
    return array.reshape(sizes)


def unpack_strings(content: bytes, count: int) -> list[bytes]:
    """The strings of a `tensor_content`: their lengths as varints, then all of their bytes.

    Raises:
        ValueError: If it holds other than so many strings.
    """
    lengths, at = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if at >= len(content) or shift > 28:
                raise ValueError(f"tensor_content must hold {count} strings")
            byte, at = content[at], at + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if at + sum(lengths) != len(content):
        raise ValueError(f"tensor_content must hold {count} strings")
    ends = itertools.accumulate(lengths, initial=at)
    return [content[start:end] for start, end in itertools.pairwise(ends)]


def drop_values(tensor: Any, count: int) -> None:
    """Drops the values of a message that are more than its shape has, as TensorFlow does."""
    for field in VALUES:
        values = getattr(tensor, field)
        most = 2 * count if field in ("scomplex_val", "dcomplex_val") else count
        if len(values) > most:
            del values[most:]


def read_filter(names: Any, signature: Signature) -> tuple[str, ...] | None:
    """The outputs that a request asks for, sorted, since every order would make its own executor; None for all.

    Raises:
        StatusError: INVALID_ARGUMENT for an output that there isn't, or one asked for twice.
    """
    for name in names:
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                f"{braces(signature.outputs)}."
            )
    if len(set(names)) < len(names):
        raise invalid(f"duplicate output tensor alias: {','.join(names)}")
    return tuple(sorted(names)) or None


def write_outputs(outputs: Mapping[str, np.ndarray], messages: Any) -> None:
    """Tensors into the messages of the same names: values in the fields of their types, as TensorFlow Serving does."""
    for alias, tensor in outputs.items():
        message = messages[alias]
        if tensor.dtype not in NUMBERED_FIELDS:
            message.CopyFrom(tf.make_tensor_proto(tensor))
            continue
        message.dtype, field = NUMBERED_FIELDS[tensor.dtype]
        add = message.tensor_shape.dim.add
        for size in tensor.shape:
            add(size=size)
        values, flat = getattr(message, field), tensor.ravel()
        for start in range(0, tensor.size, VALUES_AT_ONCE):
            calls.check()
            values.extend(flat[start : start + VALUES_AT_ONCE].tolist())


def count_records(message: Any) -> tuple[int, int]:
    """How many examples a request has, and about how many bytes they take with their context in each."""
    if message.WhichOneof("kind") != "example_list_with_context":
        return len(message.example_list.examples), message.ByteSize()
    listed = message.example_list_with_context
    count, context_bytes = len(listed.examples), listed.context.ByteSize()
    return count, message.ByteSize() + min(count * context_bytes, tensor_size.LARGEST_TENSOR_BYTES)


def read_records(message: Any) -> np.ndarray:
    """A request's examples, with their context in each, as serialized `tf.train.Example` messages.

    Raises:
        StatusError: INVALID_ARGUMENT if there are none, or if they are over the limit with the context in each.
    """
    listed, context = message.example_list.examples, b""
    if message.WhichOneof("kind") == "example_list_with_context":
        listed = message.example_list_with_context.examples
        context = message.example_list_with_context.context.SerializeToString()
    if not listed:
        raise invalid("Input is empty.")
    tensor_size.check_repeated(len(context), len(listed))
    records = np.empty(len(listed), dtype=object)
    # Messages that stand one after the other parse as one: features of the same name are the example's.
    records[:] = [context + example.SerializeToString() for example in listed]
    return records


def write_classes(result: Any, outputs: dict[str, np.ndarray], count: int) -> None:
    """Fills a `ClassificationResult`."""
    for labels, scores in zip(*read_classes(outputs, count), strict=True):
        one = result.classifications.add()
        for label, score in zip(labels, scores.tolist(), strict=True):
            one.classes.add(label=label.decode("utf-8", "replace"), score=score)


def write_values(result: Any, outputs: dict[str, np.ndarray], count: int) -> None:
    """Fills a `RegressionResult`."""
    for value in read_values(outputs, count).tolist():
        result.regressions.add(value=value)


def fill_model_spec(spec: Any, name: str, version: int, signature_name: str) -> None:
    """Says in a response what answered."""
    spec.name = name
    spec.version.value = version
    spec.signature_name = signature_name


def braces(names: Any) -> str:
    """Names as TensorFlow Serving's errors list them."""
    return f"{{{','.join(sorted(names))}}}"


def cut(message: str) -> str:
    """An error's message, no longer than HTTP/2 headers should be."""
    data = message.encode("utf-8", "replace")
    if len(data) <= LONGEST_MESSAGE_BYTES:
        return message
    return data[:LONGEST_MESSAGE_BYTES].decode("utf-8", "ignore") + "...TRUNCATED"
