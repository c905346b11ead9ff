"""Tensors as response bodies, in TensorFlow Serving's layout and number format."""

import base64
import json
import math
from collections.abc import Iterable, Mapping

import numpy as np

from serving.server.limits import calls
from serving.server.status import invalid

INDENT = "    "
VALUES_AT_ONCE = 1 << 16
DECIMAL_DIGITS = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}
# A string output whose name ends so holds bytes that need not be text.
BYTES_SUFFIX = "_bytes"
TYPE_NAMES = {"float16": "half"}
JSON_INTEGERS = {"int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"}
"""Those that the protocol writes: all but uint16."""
# Made once: `json.dumps` makes an encoder a call.
quoted = json.JSONEncoder(ensure_ascii=False).encode


def to_predictions(outputs: Mapping[str, np.ndarray]) -> bytes:
    """The body of a row response: `{"predictions": […]}`, an element an instance.

    With one output an element is its bare value, with more an object by output name.

    Args:
        outputs: Tensors by name, each (instances, …).

    Raises:
        StatusError: INVALID_ARGUMENT if an output has no first dimension or another one, or a type without JSON.
    """
    batch_size = -1
    for name, tensor in outputs.items():
        if tensor.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch_size not in (-1, len(tensor)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(tensor)} expecting: {batch_size}")
        batch_size = len(tensor)
    if batch_size == 0:
        return b'{\n    "predictions": []\n}'
    if len(outputs) == 1:
        [(name, tensor)] = outputs.items()
        # Elements stand in one line, unlike the bracket that closes their array.
        text = ", ".join(fold(tensor, name, level=2, keep=1, one_line=True))
        return encode(f'{{\n    "predictions": [{text}\n    ]\n}}')
    columns = [fold(tensor, name, level=3, keep=1, one_line=True) for name, tensor in outputs.items()]
    keys = [quoted(name) for name in outputs]
    elements = [
        to_object((f"{key}: {value}" for key, value in zip(keys, row, strict=True)), level=2)
        for row in zip(*columns, strict=True)
    ]
    return encode(f'{{\n    "predictions": {bracket(elements, level=1)}\n}}')


def to_outputs(outputs: Mapping[str, np.ndarray]) -> bytes:
    """The body of a column response: `{"outputs": …}`, a bare tensor if there is one, else an object by name.

    Raises:
        StatusError: INVALID_ARGUMENT for a type without JSON, such as half.
    """
    if len(outputs) == 1:
        [(name, tensor)] = outputs.items()
        return encode(f'{{\n    "outputs": {fold(tensor, name, level=1)[0]}\n}}')
    members = (f"{quoted(name)}: {fold(tensor, name, level=2)[0]}" for name, tensor in outputs.items())
    return encode(f'{{\n    "outputs": {to_object(members, level=1)}\n}}')


def fold(tensor: np.ndarray, name: str, level: int, keep: int = 0, one_line: bool = False) -> list[str]:
    """A tensor's text.

    Args:
        tensor: The values.
        name: The output's name, which tells bytes from strings.
        level: How deep in the document the text stands.
        keep: How many leading dimensions become elements of the result instead of brackets.
        one_line: Whether an array stands in one line.

    Returns:
        (product of the kept dimensions) texts.
    """
    if tensor.size > VALUES_AT_ONCE and tensor.ndim > 1:
        return fold_in_turns(tensor, name, level, keep, one_line)
    texts = to_cells(tensor, name, level + tensor.ndim - keep)
    for axis in reversed(range(keep, tensor.ndim)):
        size, count = tensor.shape[axis], math.prod(tensor.shape[:axis])
        rows = (texts[index * size : (index + 1) * size] for index in range(count))
        if one_line:
            texts = [f"[{', '.join(row)}]" for row in rows]
        else:
            texts = [bracket(row, level + axis - keep) for row in rows]
    return texts


def fold_in_turns(tensor: np.ndarray, name: str, level: int, keep: int, one_line: bool) -> list[str]:
    """What `fold` returns, made some rows at a time: while it is written, a value takes ten times its text's memory."""
    inner = level if keep else level + 1
    step = max(1, VALUES_AT_ONCE * len(tensor) // tensor.size)
    texts = []
    for start in range(0, len(tensor), step):
        calls.check()
        rows = tensor[start : start + step]
        texts += fold(rows, name, inner, 1, one_line) if step > 1 else fold(rows[0], name, inner, 0, one_line)
    if keep:
        return texts
    return [f"[{', '.join(texts)}]" if one_line else bracket(texts, level)]


def bracket(texts: list[str], level: int) -> str:
    """An array of one element a line."""
    if not texts:
        return "[]"
    inner = "\n" + INDENT * (level + 1)
    return f"[{inner}{f',{inner}'.join(texts)}\n{INDENT * level}]"


def to_object(members: Iterable[str], level: int) -> str:
    """An object of one member a line."""
    inner = "\n" + INDENT * (level + 1)
    return f"{{{inner}{f',{inner}'.join(members)}\n{INDENT * level}}}"


def to_cells(tensor: np.ndarray, name: str, level: int) -> list[str]:
    """Every value's text, in row-major order."""
    values = tensor.ravel()
    if not values.size:  # of whatever type
        return []
    if values.dtype in DECIMAL_DIGITS:
        return to_decimals(values)
    if values.dtype.name in JSON_INTEGERS:
        return list(map(str, values.tolist()))
    if values.dtype.kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    if values.dtype.kind in "OS":
        if name.endswith(BYTES_SUFFIX):
            return [to_object([f'"b64": "{base64.b64encode(value).decode()}"'], level) for value in values.tolist()]
        return [quoted(value.decode("utf-8", "surrogateescape")) for value in values.tolist()]
    type_name = TYPE_NAMES.get(values.dtype.name, values.dtype.name)
    raise invalid(f"Failed to write JSON value for tensor type: {type_name}")


def to_decimals(values: np.ndarray) -> list[str]:
    """Numbers in the shortest of two forms that reads back as the same value of their own type.

    Six significant digits where they are enough, else as many as tell every two values apart (9 for float32,
    17 for float64). A whole number without exponent gets `.0`, so that readers see one type; NaN and the
    infinities are bare words, which JSON proper lacks.

    Args:
        values: (count,) float32 or float64.
    """
    numbers = values.tolist()
    texts = [f"{number:.6g}" for number in numbers]
    exact = np.array(list(map(float, texts)), dtype=values.dtype) == values
    digits = DECIMAL_DIGITS[values.dtype]
    for index in np.flatnonzero(~exact & np.isfinite(values)).tolist():
        texts[index] = f"{numbers[index]:.{digits}g}"
    return [text if "." in text or "e" in text else WORDS.get(text) or f"{text}.0" for text in texts]


WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity", "-nan": "NaN"}


def encode(text: str) -> bytes:
    """A body's bytes; bytes of strings that were not UTF-8 leave unchanged."""
    return text.encode("utf-8", "surrogateescape")
