"""The messages of PredictionService that a client needs, without the TensorFlow that tensorflow-serving-api brings.

Only the fields used here are declared; protobuf skips the others. Numbers and types are those of TensorFlow's
tensor.proto, tensor_shape.proto and types.proto, and TensorFlow Serving's model.proto, predict.proto and
get_model_metadata.proto.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from foundation.declared_messages import Field, declare

MESSAGES: dict[str, Sequence[Field]] = {
    "Dim": [("size", 1, "int64", False)],
    "TensorShape": [("dim", 2, "Dim", True)],
    "Tensor": [
        ("dtype", 1, "int32", False),
        ("tensor_shape", 2, "TensorShape", False),
        ("tensor_content", 4, "bytes", False),
        ("float_val", 5, "float", True),
        ("int_val", 7, "int32", True),
        ("string_val", 8, "bytes", True),
    ],
    "TensorEntry": [("key", 1, "string", False), ("value", 2, "Tensor", False)],
    "ModelSpec": [("name", 1, "string", False), ("signature_name", 3, "string", False)],
    "PredictRequest": [("model_spec", 1, "ModelSpec", False), ("inputs", 2, "TensorEntry", True)],
    "PredictResponse": [("outputs", 1, "TensorEntry", True)],
    "MetadataRequest": [("model_spec", 1, "ModelSpec", False), ("metadata_field", 2, "string", True)],
    "Any": [("value", 2, "bytes", False)],
    "AnyEntry": [("key", 1, "string", False), ("value", 2, "Any", False)],
    "MetadataResponse": [("metadata", 2, "AnyEntry", True)],
    "SignatureEntry": [("key", 1, "string", False)],
    "SignatureMap": [("signature_def", 1, "SignatureEntry", True)],
}
STRING = 7
DTYPES = {1: np.dtype("<f4"), 3: np.dtype("<i4")}
VALUE_FIELDS = {1: "float_val", 3: "int_val"}
CLASSES = declare("serving_client", MESSAGES)


def to_tensor(values: Any) -> Any:
    """Nested lists of equal lengths, of texts or of whole numbers (int32), as a tensor message."""
    array = np.array(values, dtype=object)
    tensor = CLASSES["Tensor"]()
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    flat = array.ravel().tolist()
    if flat and isinstance(flat[0], str):
        tensor.dtype = STRING
        tensor.string_val.extend(text.encode("utf-8", "surrogatepass") for text in flat)
    else:
        tensor.dtype = 3
        tensor.tensor_content = np.array(flat, dtype=DTYPES[3]).tobytes()
    return tensor


def from_tensor(tensor: Any) -> Any:
    """A tensor message of strings, float32 or int32 as nested lists.

    Raises:
        ValueError: For other types, or other values than the shape says.
    """
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    count = int(np.prod(shape, dtype=np.int64))
    if tensor.dtype == STRING:
        array = np.array([text.decode("utf-8", "replace") for text in tensor.string_val] + [None], dtype=object)[:-1]
    elif tensor.dtype not in DTYPES:
        raise ValueError(f"a tensor of type number {tensor.dtype}")
    elif tensor.tensor_content:
        array = np.frombuffer(tensor.tensor_content, dtype=DTYPES[tensor.dtype])
    else:
        array = np.array(getattr(tensor, VALUE_FIELDS[tensor.dtype]), dtype=DTYPES[tensor.dtype])
    if 0 < len(array) < count:  # the last value stands for all that follow
        array = np.concatenate([array, np.repeat(array[-1:], count - len(array))])
    return array.reshape(shape).tolist()
