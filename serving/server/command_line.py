"""The server's command line: what its options mean, and which values are refused. Imports no TensorFlow."""

import argparse
import dataclasses

from foundation.errors import ConfigError
from foundation.longest_wait import LONGEST_SECONDS, require_short_enough
from serving.server import metrics, text_protos, tls
from serving.server.batching.parameters import ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED, BatchingParameters
from serving.server.batching.parameters import read as read_parameters
from serving.server.listener import check_socket_path
from serving.server.models import model_config
from serving.server.models.loading import Loading
from serving.server.models.model_config import ModelConfig
from serving.server.tls import Tls

OVER_ZERO = (
    *("timeout_seconds", "max_body_bytes", "max_response_bytes", "max_pending_requests"),
    "rest_api_num_threads",
)
ZERO_OR_MORE = (
    *("poll_seconds", "max_num_load_retries", "num_request_iterations_for_warmup", "tensorflow_session_parallelism"),
    *("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"),
)
LARGEST_WHOLE_NUMBER = LARGEST_MESSAGE_BYTES = (1 << 31) - 1
"""What TensorFlow's settings hold, and gRPC's own limit of a message."""


def check(options: argparse.Namespace) -> None:
    """Refuses impossible values.

    Raises:
        ConfigError: Naming the option.
    """
    for option, port, usual in (("--port", options.port, 8501), ("--grpc-port", options.grpc_port or 0, 8500)):
        if not 0 <= port <= 65535:
            raise ConfigError(f"{option} must be from 0 to 65535", received=str(port), remedy=f"try {option} {usual}")
    for names, least in ((OVER_ZERO, "over 0"), (ZERO_OR_MORE, "at least 0")):
        for name in names:
            value = getattr(options, name)
            if not (value > 0 if least == "over 0" else value >= 0):
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(
                    f"{option} must be {least}", received=str(value), remedy=f"leave {option} out for its default"
                )
    for name in ("timeout_seconds", "poll_seconds", "model_config_file_poll_wait_seconds"):
        require_short_enough(f"--{name.replace('_', '-')}", getattr(options, name))
    if not options.load_retry_interval_micros <= LONGEST_SECONDS * 1e6:
        raise ConfigError(
            f"--load-retry-interval-micros must be a number of at most {LONGEST_SECONDS * 1e6:g}",
            received=f"{options.load_retry_interval_micros:g}",
            remedy="leave --load-retry-interval-micros out for its default",
        )
    if options.max_response_bytes > LARGEST_MESSAGE_BYTES:
        raise ConfigError(
            f"--max-response-bytes must be at most {LARGEST_MESSAGE_BYTES}, the size of gRPC's largest message",
            received=str(options.max_response_bytes),
            remedy="give fewer bytes",
        )
    for name, value in vars(options).items():
        if isinstance(value, int) and value > LARGEST_WHOLE_NUMBER and name != "max_body_bytes":
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{option} must be at most {LARGEST_WHOLE_NUMBER}", received=str(value), remedy="give a smaller number"
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
    if options.grpc_socket_path is not None:
        check_socket_path(options.grpc_socket_path)
    if options.disable_rest and options.disable_grpc and options.grpc_socket_path is None:
        raise ConfigError(
            "the server must answer REST or gRPC",
            received="--disable-rest and --disable-grpc (or no --rest_api_port, and --port 0)",
            remedy="give --rest_api_port 8501 or --port 8500, or leave one of the options out",
        )
    if options.port and options.port == grpc_port(options) and not options.disable_rest:
        raise ConfigError(
            "the ports for REST and gRPC must differ",
            received=f"{options.port} for both",
            remedy="give gRPC another: --grpc-port",
        )
    of_one = options.tensorflow_intra_op_parallelism or options.tensorflow_inter_op_parallelism
    if options.tensorflow_session_parallelism and of_one:
        raise ConfigError(
            "--tensorflow-session-parallelism, which sets both, must be given without "
            "--tensorflow-intra-op-parallelism and --tensorflow-inter-op-parallelism",
            received="it together with them",
            remedy="give it alone, or those two",
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


def loading(options: argparse.Namespace) -> Loading:
    """How versions are loaded."""
    both = options.tensorflow_session_parallelism
    return Loading(
        retries=options.max_num_load_retries,
        retry_seconds=max(0.0, options.load_retry_interval_micros / 1e6),
        warm_up=not options.disable_model_warmup,
        warm_up_iterations=max(1, options.num_request_iterations_for_warmup),
        tags=tuple(tag for tag in options.saved_model_tags.split(",") if tag),
        intra_op_threads=options.tensorflow_intra_op_parallelism or both,
        inter_op_threads=options.tensorflow_inter_op_parallelism or both,
        prefer_lite=options.prefer_tflite_model,
    )


def certificates(options: argparse.Namespace) -> tuple[Tls | None, Tls | None]:
    """The certificates of gRPC and of REST; None where connections are plain.

    Raises:
        ConfigError: If a file is invalid.
    """
    grpc_file, rest_file = options.ssl_config_file, options.rest_ssl_config_file
    return (
        None if grpc_file is None else tls.read("--ssl-config-file", grpc_file),
        None if rest_file is None else tls.read("--rest-ssl-config-file", rest_file),
    )


def allowed_hosts(options: argparse.Namespace) -> tuple[str, ...]:
    """Further names of this server."""
    return tuple(name.strip() for name in options.allowed_hosts.split(",") if name.strip())


def grpc_port(options: argparse.Namespace) -> int | None:
    """The port for gRPC, 0 for a free one; None for no port."""
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
