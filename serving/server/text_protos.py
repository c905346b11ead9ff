"""Reads configuration files in TensorFlow Serving's own text formats, and refuses files that say anything else.

tensorflow-serving-api has the model configuration's messages but not those of batching and monitoring, so these
are declared here; names, numbers and types are those of session_bundle_config.proto, ssl_config.proto and
monitoring_config.proto.
"""

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from foundation.declared_messages import Field, declare
from foundation.errors import ConfigError

MESSAGES: dict[str, list[Field]] = {
    "BatchingParameters": [
        ("max_batch_size", 1, "Int64Value", False),
        ("batch_timeout_micros", 2, "Int64Value", False),
        ("max_enqueued_batches", 3, "Int64Value", False),
        ("num_batch_threads", 4, "Int64Value", False),
        ("thread_pool_name", 5, "StringValue", False),
        ("allowed_batch_sizes", 6, "int64", True),
        ("pad_variable_length_inputs", 7, "bool", False),
        ("enable_large_batch_splitting", 8, "BoolValue", False),
        ("max_execution_batch_size", 9, "Int64Value", False),
    ],
    "PrometheusConfig": [("enable", 1, "bool", False), ("path", 2, "string", False)],
    "SSLConfig": [
        ("server_key", 1, "string", False),
        ("server_cert", 2, "string", False),
        ("custom_ca", 3, "string", False),
        ("client_verify", 4, "bool", False),
    ],
    "MonitoringConfig": [("prometheus_config", 1, "PrometheusConfig", False)],
}
EXAMPLES = {
    "BatchingParameters": "max_batch_size { value: 64 }",
    "MonitoringConfig": "prometheus_config { enable: true }",
    "SSLConfig": 'server_key: "..." server_cert: "..."',
    "ModelServerConfig": "model_config_list { config { name: 'm' base_path: '/m' model_platform: 'tensorflow' } }",
}
"""What may stand in a file, by the message's name."""
CLASSES = declare("serving_configuration", MESSAGES)


def read(option: str, path: Path, message: Any) -> Any:
    """Fills a message from a file.

    Args:
        option: The command line's, for errors.
        path: A text proto.
        message: An empty one; its fields are what may stand in the file.

    Returns:
        The message.

    Raises:
        ConfigError: If the file can't be read or says something else, with the line and column.
    """
    try:
        return text_format.Parse(path.read_text("utf-8"), message)
    except OSError as error:
        raise ConfigError(
            f"{option} must be a file that can be read", received=f"{path}: {error.strerror}", remedy="check the path"
        ) from error
    except (UnicodeDecodeError, text_format.ParseError) as error:
        example = EXAMPLES[message.DESCRIPTOR.name]
        raise ConfigError(
            f"{option} must be a {message.DESCRIPTOR.name} in protobuf's text format",
            received=f"{path}:{str(error).splitlines()[0]}",
            remedy=f"write it as TensorFlow Serving's documentation does, for example {example}",
        ) from error
