"""The signatures of a TensorFlow Lite file as TensorFlow Serving reads them.

It doesn't read TensorFlow Lite's own. It reads a metadata entry, `signature_defs_metadata`, whose buffer is a
FlexBuffer map from a signature's name to a serialized `SignatureDef` (`lite/tools/signature/signature_def_util.cc` in
TensorFlow). All of them are about the inputs and outputs of the file's first graph.
"""

import copy
from collections.abc import Mapping
from typing import Any

from flatbuffers import flexbuffers
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

METADATA = "signature_defs_metadata"
METHOD = "tensorflow/serving/predict"


def with_serving_signatures(content: bytes, name: str, aliases: tuple[str, ...] = ()) -> bytes:
    """A TensorFlow Lite file with the signature that TensorFlow Serving answers with.

    Args:
        content: The file, whose first graph is the one of that signature.
        name: The signature's.
        aliases: More names for it.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    signature = next(one for one in model.signatureDefs if text(one.signatureKey) == name)
    if signature.subgraphIndex != 0:
        raise ValueError(f"the signature {name} must be that of the file's first graph, not {signature.subgraphIndex}")
    definition = signature_def(model.subgraphs[0], signature)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = METADATA, len(model.buffers)
    buffer.data = list(as_flexbuffer({each: definition.SerializeToString() for each in (name, *aliases)}))
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def signature_def(graph: Any, signature: Any) -> meta_graph_pb2.SignatureDef:
    """A signature of TensorFlow Lite's schema as a `SignatureDef`."""
    definition = meta_graph_pb2.SignatureDef(method_name=METHOD)
    for maps, infos in ((signature.inputs, definition.inputs), (signature.outputs, definition.outputs)):
        for one in maps:
            tensor = graph.tensors[one.tensorIndex]
            info = infos[text(one.name)]
            info.name = text(tensor.name)
            info.dtype = tensorflow_type(tensor.type)
            # The server reads a serialized definition up to its first zero byte, so none may be in it: a size of 0 or
            # an empty shape would be one.
            info.tensor_shape.unknown_rank = True
    return definition


def serving_signatures(content: bytes) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures that TensorFlow Serving finds in a file, as it reads them: each up to its first zero byte."""
    model = schema.Model.GetRootAs(content)
    entries = (model.Metadata(number) for number in range(model.MetadataLength()))
    found = next((entry for entry in entries if entry.Name() == METADATA.encode()), None)
    if found is None:
        return {}
    definitions = flexbuffers.GetRoot(bytes(model.Buffers(found.Buffer()).DataAsNumpy())).AsMap
    return {
        key.AsKey: meta_graph_pb2.SignatureDef.FromString(definitions[key.AsKey].AsStringBytes.partition(b"\0")[0])
        for key in definitions.Keys
    }


def as_flexbuffer(values: Mapping[str, bytes]) -> bytes:
    """A FlexBuffer map of strings."""
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in values.items():
            builder.Key(key)
            builder.String(value.decode("ascii"))
    return bytes(builder.Finish())


def tensorflow_type(kind: int) -> int:
    """A tensor type of TensorFlow Lite's schema as the number of TensorFlow's type."""
    import tensorflow as tf

    names = {value: name for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    return int(tf.as_dtype(names[kind].lower()).as_datatype_enum)


def text(value: "bytes | str") -> str:
    """A name of the schema's objects, which are bytes when they were read."""
    return value.decode() if isinstance(value, bytes) else copy.copy(value)
