"""The server's options. Imports no TensorFlow."""

from pathlib import Path

from foundation.option_parser import OptionParser
from serving.server import metrics
from serving.server.limits.settings import Limits
from serving.server.models.loading import DEFAULT_LOADING


def make_parser() -> OptionParser:
    """The command line."""
    parser = OptionParser(
        prog="python -m serving",
        epilog="Options may be written with underscores, and TensorFlow Serving's own are taken too (--rest_api_port, "
        "--model_base_path, --rest_api_timeout_in_ms, --file_system_poll_wait_seconds). With --rest_api_port or "
        "--model_base_path it is read as TensorFlow Serving reads it: --port is the port for gRPC, a port "
        "of 0 means none, REST is answered only on a --rest_api_port, and --model_name is 'default'.",
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
    parser.add_argument(
        "--disable-grpc", action="store_true", help="no port for gRPC (--grpc-socket-path is answered nevertheless)"
    )
    parser.add_argument("--disable-rest", action="store_true", help="answer gRPC only: no REST, page or metrics")
    parser.add_argument(
        "--timeout-seconds",
        type=float,
        default=Limits.call_seconds,
        help="how long one call may take, from reading it to writing its answer (default: %(default)s)",
    )
    parser.add_argument(
        "--poll-seconds",
        type=float,
        default=1.0,
        help="how often to look for new versions, 0 for only at the start (default: %(default)s)",
    )
    parser.add_argument(
        "--allowed-hosts",
        default="",
        metavar="NAMES",
        help="names of this server, with commas between, that requests may use beside addresses and names without a "
        "dot; .example.org stands for all names below it, * for every name (default: none, since pages of other sites "
        "could else read answers by DNS rebinding)",
    )
    parser.add_argument(
        "--rest-api-enable-cors-support", action="store_true", help="let pages of every other site read the answers"
    )
    parser.add_argument(
        "--rest-api-num-threads",
        type=int,
        default=Limits.threads,
        metavar="N",
        help="graphs and large messages that are worked on at once (default: %(default)s)",
    )
    parser.add_argument(
        "--ssl-config-file",
        type=Path,
        metavar="FILE",
        help="TensorFlow Serving's SSL configuration, with which gRPC is encrypted (REST isn't, as there)",
    )
    parser.add_argument(
        "--rest-ssl-config-file", type=Path, metavar="FILE", help="the same for REST; may be the same file"
    )
    parser.add_argument("--grpc-socket-path", metavar="PATH", help="a Unix socket on which to answer gRPC too")
    parser.add_argument(
        "--enable-grpc-healthcheck-service",
        action="store_true",
        help="answer gRPC's health checks (grpc.health.v1: Check and Watch)",
    )
    parser.add_argument(
        "--max-num-load-retries",
        type=int,
        default=DEFAULT_LOADING.retries,
        metavar="N",
        help="how often a version that didn't load is tried again (default: %(default)s)",
    )
    parser.add_argument(
        "--load-retry-interval-micros",
        type=float,
        default=DEFAULT_LOADING.retry_seconds * 1e6,
        metavar="MICROS",
        help="how long it rests between, less than 0 for not at all (default: 60000000)",
    )
    parser.add_argument(
        "--disable-model-warmup",
        action="store_true",
        help="don't answer a version's warm-up requests before it serves (--enable_model_warmup=false)",
    )
    parser.add_argument(
        "--num-request-iterations-for-warmup",
        type=int,
        default=DEFAULT_LOADING.warm_up_iterations,
        metavar="N",
        help="how often each warm-up request is answered, 0 for once (default: %(default)s)",
    )
    parser.add_argument(
        "--prefer-tflite-model",
        action="store_true",
        help="answer with a version's model.tflite, the model in eight-bit integers, where it "
        "has one (export.quantize int8): it takes token ids",
    )
    parser.add_argument(
        "--saved-model-tags", default="serve", metavar="TAGS", help="tags of the graph to load (default: %(default)s)"
    )
    for name, threads in (("intra", "of one operation"), ("inter", "for operations beside each other")):
        parser.add_argument(
            f"--tensorflow-{name}-op-parallelism",
            type=int,
            default=0,
            metavar="N",
            help=f"threads {threads} (default: TensorFlow's own choice)",
        )
    parser.add_argument(
        "--tensorflow-session-parallelism", type=int, default=0, metavar="N", help="both of these at once"
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
