"""TensorFlow Serving's messages of text files that the package tensorflow-serving-api leaves out."""

import functools
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

Field = descriptor_pb2.FieldDescriptorProto
PACKAGE = "tensorflow.serving.test"


def batching_parameters() -> Any:
    """An empty `BatchingParameters` (session_bundle_config.proto)."""
    return _classes()["BatchingParameters"]()


def monitoring_config() -> Any:
    """An empty `MonitoringConfig` (monitoring_config.proto)."""
    return _classes()["MonitoringConfig"]()


@functools.cache
def _classes() -> Mapping[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="test/left_out.proto", package=PACKAGE, syntax="proto3", dependency=[wrappers_pb2.DESCRIPTOR.name]
    )

    def add(message: Any, number: int, name: str, kind: Any, **more: Any) -> None:
        message.field.add(number=number, name=name, type=kind, **{"label": Field.LABEL_OPTIONAL, **more})

    batching = file.message_type.add(name="BatchingParameters")
    wrapped = {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "enable_large_batch_splitting": "BoolValue",
        "max_execution_batch_size": "Int64Value",
    }
    for number, (name, kind) in enumerate(wrapped.items(), 1):
        add(batching, number, name, Field.TYPE_MESSAGE, type_name=f".google.protobuf.{kind}")
    add(batching, 20, "allowed_batch_sizes", Field.TYPE_INT64, label=Field.LABEL_REPEATED)
    add(batching, 21, "pad_variable_length_inputs", Field.TYPE_BOOL)
    prometheus = file.message_type.add(name="PrometheusConfig")
    add(prometheus, 1, "enable", Field.TYPE_BOOL)
    add(prometheus, 2, "path", Field.TYPE_STRING)
    monitoring = file.message_type.add(name="MonitoringConfig")
    add(monitoring, 1, "prometheus_config", Field.TYPE_MESSAGE, type_name=f".{PACKAGE}.PrometheusConfig")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    names = ("BatchingParameters", "MonitoringConfig")
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in names}
