"""The server's command line: its options, and which values are refused. Imports no TensorFlow."""

import argparse
import dataclasses
from pathlib import Path

from foundation.errors import ConfigError
from foundation.longest_wait import require_short_enough
from serving.server import metrics, text_protos
from serving.server.batching.parameters import ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED, BatchingParameters
from serving.server.batching.parameters import read as read_parameters
from serving.server.limits.settings import Limits
from serving.server.models import model_config
from serving.server.models.model_config import ModelConfig

LARGEST_MESSAGE_BYTES = (1 << 31) - 1
"""gRPC's own limit."""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="Serves an exported model on this machine, as TensorFlow Serving would.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--model-dir", type=Path, metavar="DIR", help="base path with integer version directories, or a SavedModel"
    )
    what.add_argument(
        "--model-config-file",
        type=Path,
        metavar="FILE",
        help="TensorFlow Serving's model configuration: several models, which versions, and their labels",
    )
    parser.add_argument(
        "--allow-version-labels-for-unavailable-models",
        action="store_true",
        help="take labels in the configuration, though at the start no version is available yet",
    )
    parser.add_argument(
        "--model-config-file-poll-wait-seconds",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how often to read the model configuration anew, and change to it, 0 for never (default: 0)",
    )
    parser.add_argument(
        "--allow-reload-config",
        action="store_true",
        help="let every client that reaches the gRPC port change which models are served, from any directory that this "
        "process can read (HandleReloadConfigRequest; default: refused with PERMISSION_DENIED)",
    )
    parser.add_argument("--model-name", metavar="NAME", help="the model's name in URLs (default: the directory's name)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8501, help="REST port, 0 for any free one (default: %(default)s)")
    parser.add_argument(
        "--grpc-port",
        type=int,
        help="gRPC port, 0 for any free one (default: 8500 as TensorFlow Serving's, but 0 with --port 0)",
    )
    parser.add_argument("--disable-grpc", action="store_true", help="answer REST only")
    parser.add_argument(
        "--timeout-seconds",
        type=float,
        default=Limits.call_seconds,
        help="how long one call may take, from reading it to writing its answer (default: %(default)s)",
    )
    parser.add_argument(
        "--poll-seconds", type=float, default=1.0, help="how often to look for new versions (default: %(default)s)"
    )
    parser.add_argument(
        "--max-body-bytes", type=int, default=Limits.body_bytes, help="largest request body (default: %(default)s)"
    )
    parser.add_argument(
        "--max-response-bytes",
        type=int,
        default=Limits.response_bytes,
        help="largest answer, over REST and gRPC; what would get a larger one is refused with INVALID_ARGUMENT, before "
        "it is computed where the shapes tell its size (default: %(default)s)",
    )
    parser.add_argument(
        "--max-pending-requests",
        type=int,
        default=Limits.pending_requests,
        help="requests answered or waiting at once, beyond which new ones get 503 (default: %(default)s)",
    )
    parser.add_argument(
        "--enable-batching",
        action="store_true",
        help="batch as TensorFlow Serving's --enable_batching does, refusing what it refuses (default: requests that "
        "wait are batched where that changes no answer's status)",
    )
    parser.add_argument(
        "--disable-batching", action="store_true", help="run every request for itself, as TensorFlow Serving does"
    )
    parser.add_argument(
        "--batching-parameters-file",
        type=Path,
        metavar="FILE",
        help="TensorFlow Serving's batching parameters, with --enable-batching",
    )
    parser.add_argument(
        "--enable-per-model-batching-parameters",
        action="store_true",
        help="sizes and times of batches from each version's batching_params.pbtxt, with --enable-batching; "
        "a version without that file isn't batched",
    )
    parser.add_argument("--max-batch-size", type=int, metavar="ROWS", help="rows that go together (default: 64)")
    parser.add_argument(
        "--batch-timeout-micros", type=int, metavar="MICROS", help="how long a batch waits to fill (default: 0)"
    )
    parser.add_argument(
        "--monitoring-config-file",
        type=Path,
        metavar="FILE",
        help=f"TensorFlow Serving's monitoring configuration (default: metrics are at {metrics.PATH})",
    )
    return parser


def check(options: argparse.Namespace) -> None:
    """Refuses impossible values.

    Raises:
        ConfigError: Naming the option.
    """
    for option, port, usual in (("--port", options.port, 8501), ("--grpc-port", options.grpc_port or 0, 8500)):
        if not 0 <= port <= 65535:
            raise ConfigError(f"{option} must be from 0 to 65535", received=str(port), remedy=f"try {option} {usual}")
    for name in ("timeout_seconds", "poll_seconds", "max_body_bytes", "max_response_bytes", "max_pending_requests"):
        value = getattr(options, name)
        if not value > 0:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{option} must be over 0", received=str(value), remedy=f"leave {option} out for its default"
            )
    for name in ("timeout_seconds", "poll_seconds", "model_config_file_poll_wait_seconds"):
        require_short_enough(f"--{name.replace('_', '-')}", getattr(options, name))
    if options.max_response_bytes > LARGEST_MESSAGE_BYTES:
        raise ConfigError(
            f"--max-response-bytes must be at most {LARGEST_MESSAGE_BYTES}, the size of gRPC's largest message",
            received=str(options.max_response_bytes),
            remedy="give fewer bytes",
        )
    seconds = options.model_config_file_poll_wait_seconds
    if not seconds >= 0 or (seconds and options.model_config_file is None):
        raise ConfigError(
            "--model-config-file-poll-wait-seconds must be 0, or over 0 together with --model-config-file",
            received=f"{seconds:g}",
            remedy="leave it out, or add --model-config-file FILE",
        )
    if options.disable_grpc and options.grpc_port is not None:
        raise ConfigError(
            "--disable-grpc and --grpc-port must not be given together", received="both", remedy="give one"
        )
    name = options.model_name
    if name is not None and (not name or "/" in name or ":" in name):
        raise ConfigError(
            "--model-name must not be empty and must have neither '/' nor ':', because it becomes part of URLs",
            received=repr(name),
            remedy="choose another name",
        )


def batching_parameters(options: argparse.Namespace) -> BatchingParameters | None:
    """How requests are batched; None where they are not.

    Raises:
        ConfigError: If options contradict each other, or the file is invalid.
    """
    if options.enable_batching and options.disable_batching:
        raise ConfigError(
            "--enable-batching and --disable-batching must not be given together", received="both", remedy="give one"
        )
    for option, is_given in (
        ("--batching-parameters-file", options.batching_parameters_file is not None),
        ("--enable-per-model-batching-parameters", options.enable_per_model_batching_parameters),
    ):
        if is_given and not options.enable_batching:
            raise ConfigError(
                f"{option} must be given together with --enable-batching",
                received=f"{option} alone",
                remedy="add --enable-batching",
            )
    if options.disable_batching:
        return None
    parameters = ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED
    if options.enable_batching:
        parameters = BatchingParameters()
    if options.batching_parameters_file is not None:
        parameters = read_parameters(options.batching_parameters_file)
    changes = {
        name: getattr(options, name)
        for name in ("max_batch_size", "batch_timeout_micros")
        if getattr(options, name) is not None
    }
    return dataclasses.replace(parameters, **changes)


def model_configs(options: argparse.Namespace) -> list[ModelConfig]:
    """The models of the model configuration file; none without a file.

    Raises:
        ConfigError: If the file is invalid, or has labels without the option that TensorFlow Serving demands.
    """
    path = options.model_config_file
    if path is None:
        return []
    configs = model_config.read(path)
    labels = sorted(label for config in configs for label in config.labels)
    if labels and not options.allow_version_labels_for_unavailable_models:
        raise ConfigError(
            "labels must be allowed with --allow-version-labels-for-unavailable-models, because no version is "
            "available when the server starts",
            received=f"{', '.join(labels)} in {path}",
            remedy="add the option, here and for TensorFlow Serving",
        )
    if options.model_name is not None:
        raise ConfigError(
            "--model-name must be given together with --model-dir",
            received="it with --model-config-file",
            remedy="leave --model-name out: the file has the names",
        )
    return configs


def grpc_port(options: argparse.Namespace) -> int | None:
    """The port for gRPC, 0 for a free one; None for no gRPC."""
    if options.disable_grpc:
        return None
    if options.grpc_port is None:
        # A user who lets the system choose one port would be surprised by a fixed second one.
        return 8500 if options.port else 0
    return int(options.grpc_port)


def metrics_path(options: argparse.Namespace) -> str | None:
    """The URL path of the metrics page; None for no page.

    Raises:
        ConfigError: If the monitoring configuration is invalid.
    """
    if options.monitoring_config_file is None:
        return metrics.PATH
    option = "--monitoring-config-file"
    configuration = text_protos.read(option, options.monitoring_config_file, text_protos.CLASSES["MonitoringConfig"]())
    prometheus = configuration.prometheus_config
    path = str(prometheus.path) or metrics.PATH
    if not path.startswith("/") or set(path) & set("{}?#"):
        raise ConfigError(
            f"the path in {option} must be that of a URL: it must start with '/' and have no '{{', '}}', '?' or '#'",
            received=repr(path),
            remedy=f'write for example "{metrics.PATH}"',
        )
    return path if prometheus.enable else None
