"""JSON values as tensors: the row format (`instances`) and the column format (`inputs`)."""

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from serving.server.limits import tensor_size
from serving.server.rest.json_text import quote, type_name
from serving.server.signature import TensorSpec, written
from serving.server.status import Code, StatusError, invalid

FLOATS = {"float": np.float32, "double": np.float64}
# Integers are range-checked as the second type and then cast to the first: 300 for a uint8 wraps to 44.
INTEGERS: dict[str, tuple[type[np.integer[Any]], type[np.integer[Any]]]] = {
    "int32": (np.int32, np.int32),
    "int16": (np.int16, np.int32),
    "int8": (np.int8, np.int32),
    "uint8": (np.uint8, np.int32),
    "int64": (np.int64, np.int64),
    "uint32": (np.uint32, np.uint32),
    "uint64": (np.uint64, np.uint64),
}
WITHOUT_JSON = {
    "half": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "uint16": np.uint16,
    "complex64": np.complex64,
    "complex128": np.complex128,
}
"""Types of which the protocol reads no values, only empty lists."""
BASE64_KEY = "b64"


def from_instances(instances: list[Any], inputs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Tensors of a row request, each (instances, …).

    Args:
        instances: Values or lists where there is one input, or objects with exactly the inputs' names. The
            first element decides which.
        inputs: What the signature takes; not empty.

    Raises:
        StatusError: INVALID_ARGUMENT, naming the element and key at fault.
    """
    by_name = is_object(instances[0])
    if not by_name and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required "
            f"as per tensorinfo_map: {','.join(sorted(inputs))}"
        )
    if not by_name:
        for index, element in enumerate(instances):
            if is_object(element):
                raise invalid(f"Expecting value/list but got object at item {index} of input list")
        name, spec = next(iter(inputs.items()))
        return {name: stack(instances, spec, lambda index: f"Failed to process element: {index} of 'instances' list.")}
    for index, element in enumerate(instances):
        if not is_object(element):
            raise invalid(f"Expecting object but got list at item {index} of input list")
        if element.keys() == inputs.keys():
            continue
        for name in element:
            if name not in inputs:
                problem = invalid(f"JSON object: does not have named input: {name}")
                raise invalid(f"Failed to process element: {index} key: {name} of 'instances' list. Error: {problem}")
        raise invalid(
            f"Failed to process element: {index} of 'instances' list. JSON object: {quote(element)} "
            f"keys must be equal to: {','.join(sorted(inputs))}"
        )
    tensors = {}
    for name, spec in inputs.items():
        where = f" key: {name} of 'instances' list."
        tensors[name] = stack(
            [element[name] for element in instances],
            spec,
            lambda index, where=where: f"Failed to process element: {index}{where}",
        )
    return tensors


def from_inputs(value: Any, inputs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Tensors of a column request.

    Args:
        value: A value or list where there is one input, or an object by name, in which other keys are ignored.
        inputs: What the signature takes; not empty.

    Raises:
        StatusError: INVALID_ARGUMENT, naming the input at fault; UNIMPLEMENTED for a type that JSON can't carry.
    """
    if is_object(value):
        for name in sorted(inputs):
            if name not in value:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        return {name: named(name, value[name], spec) for name, spec in inputs.items()}
    if len(inputs) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required "
            f"as per tensorinfo_map: {','.join(sorted(inputs))}"
        )
    name, spec = next(iter(inputs.items()))
    return {name: named(name, value, spec)}


def named(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
    """One input's tensor; an error says which input."""
    try:
        return to_tensor(value, spec.dtype)
    except StatusError as error:
        raise StatusError(error.code, f"{error.message} (input: {name})") from error


def stack(elements: list[Any], spec: TensorSpec, where: Any) -> np.ndarray:
    """The tensor (elements, …) of one input's values, which must all have the first one's shape."""
    try:
        return to_tensor(elements, spec.dtype)
    except StatusError as error:
        together = error
    # Once more, one by one, to name the element.
    first = shape_of(elements[0])
    for index, element in enumerate(elements):
        try:
            to_tensor(element, spec.dtype)
            shape = shape_of(element)
            if math.prod(shape) != math.prod(first):
                raise invalid(f"Expecting tensor size: {math.prod(first)} but got: {math.prod(shape)}")
            if shape != first:
                raise invalid(f"Expecting shape {written(first)} but got: {written(shape)}")
        except StatusError as error:
            raise invalid(f"{where(index)} Error: {error}") from error
    raise invalid(f"{where(0)} Error: {together}")


def to_tensor(value: Any, dtype: str) -> np.ndarray:
    """A scalar, or lists nested to an equal depth, as a tensor.

    Raises:
        StatusError: INVALID_ARGUMENT for another type, uneven or too deep nesting; UNIMPLEMENTED for a type such as
            half.
    """
    shape = shape_of(value)
    tensor_size.check(shape, 1, is_string=dtype == "string")
    if dtype in WITHOUT_JSON and 0 not in shape:
        raise no_conversion(first_value(value), dtype)
    values = [value]
    for level, size in enumerate(shape):
        for item in values:
            if type(item) is not list:
                raise invalid(
                    f"JSON Value: {quote(item)} found at incorrect level: {level + 1} in the JSON DOM. "
                    f"Expected at level: {len(shape)}"
                )
            if len(item) != size:
                raise invalid(
                    f"Encountered list at unexpected size: {len(item)} at level: {level} expected size: {size}"
                )
        values = [leaf for item in values for leaf in item]
    for item in values:
        if type(item) is list:
            raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return to_array(values, dtype).reshape(shape)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape by the first element of every list."""
    shape = []
    while type(value) is list:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def to_array(values: list[Any], dtype: str) -> np.ndarray:
    """JSON scalars as a flat array of the type; strings as an object array of bytes."""
    if dtype == "string":
        array = np.empty(len(values), dtype=object)
        array[:] = [to_bytes(value) for value in values]
        return array
    if dtype in FLOATS:
        check(values, dtype, (int, float))
        try:
            with np.errstate(over="ignore"):  # over the range of float32 is infinity
                return np.array(values, dtype=np.float64).astype(FLOATS[dtype])
        except OverflowError as error:
            raise invalid("JSON Parse error: Number too big to be stored in double") from error
    if dtype in INTEGERS:
        target, range_type = INTEGERS[dtype]
        check(values, dtype, (int,))
        low, high = int(np.iinfo(range_type).min), int(np.iinfo(range_type).max)
        for value in values:
            if not low <= value <= high:
                raise wrong_type(value, dtype)
        return np.array(values, dtype=range_type).astype(target)
    if dtype == "bool":
        check(values, dtype, (bool,))
        return np.array(values, dtype=np.bool_)
    if not values and dtype in WITHOUT_JSON:
        return np.array(values, dtype=WITHOUT_JSON[dtype])
    raise no_conversion(values[0] if values else [], dtype)


def no_conversion(value: Any, dtype: str) -> StatusError:
    """The error of a type that JSON can't carry."""
    return StatusError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {quote(value)} to type: {dtype}")


def first_value(value: Any) -> Any:
    """What is left of a value when one goes down to the first element of every list."""
    while type(value) is list:
        value = value[0]
    return value


def check(values: list[Any], dtype: str, types: tuple[type, ...]) -> None:
    """Refuses values that are not exactly of the Python types; `bool` is no `int` here."""
    if set(map(type, values)) <= set(types):
        return
    raise wrong_type(next(value for value in values if type(value) not in types), dtype)


def wrong_type(value: Any, dtype: str) -> StatusError:
    """The error of a JSON value that an input can't take."""
    return invalid(f"JSON Value: {quote(value)} Type: {type_name(value)} is not of expected type: {dtype}")


def to_bytes(value: Any) -> bytes:
    """A string, or the bytes of `{"b64": …}` in the standard alphabet."""
    if type(value) is str:
        return value.encode("utf-8", "surrogateescape")
    if type(value) is not dict:
        raise wrong_type(value, "string")
    if not is_base64(value):
        raise invalid(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
    text = "".join(value[BASE64_KEY].split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4 if "=" not in text else 0), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"Unable to base64 decode {quote(value)}") from error


def is_base64(value: Any) -> bool:
    """Whether a value is `{"b64": "…"}`, which stands for bytes."""
    return type(value) is dict and len(value) == 1 and type(value.get(BASE64_KEY)) is str


def is_object(value: Any) -> bool:
    """Whether a value is an object of named inputs."""
    return type(value) is dict and not is_base64(value)
