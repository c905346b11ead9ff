"""Protobuf messages declared by their fields, for those that no installed package brings."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

Field = tuple[str, int, str, bool]
"""Name, number, type (a scalar's or a message's name), and whether it is repeated."""


def declare(package: str, messages: Mapping[str, Sequence[Field]]) -> dict[str, Any]:
    """The message classes by name, in a pool of their own, so that they clash with no others of the same names.

    Args:
        package: Any name for the messages' package.
        messages: The fields by message. A type is one of the messages, one of protobuf's wrappers, such as
            `Int64Value`, or a scalar, such as `int64`.
    """
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    wrappers = wrappers_pb2.DESCRIPTOR
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3", dependency=[wrappers.name]
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for message_name, fields in messages.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind, repeated in fields:
            field = message.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in messages:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{package}.{kind}"
            elif kind in wrappers.message_types_by_name:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{wrappers.package}.{kind}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}
