"""`python -m serving --model-dir DIR`: serves an exported model on this machine."""

if __name__ == "__main__":
    # The imports below take a moment, in which a signal would end in a traceback.
    from foundation.termination import TERMINATION

    TERMINATION.end_at_once("stopped")

import argparse
import asyncio
import contextlib
import ipaddress
import json
import logging
import shlex
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

from foundation.disk import require_working_directory
from foundation.errors import PipelineError
from foundation.keras_choice import choose_keras
from foundation.terminal import TERMINAL, take_any_text
from foundation.termination import SIGNALS, TERMINATION, number_of
from foundation.versions import TOKENIZER
from serving.server.command_line import (
    allowed_hosts,
    batching_parameters,
    certificates,
    check,
    grpc_port,
    loading,
    metrics_path,
    model_configs,
)
from serving.server.limits.settings import Limits
from serving.server.listener import bind
from serving.server.metrics import Metrics
from serving.server.models.model_directory import ModelDirectory
from serving.server.options import make_parser
from serving.server.tensorflow_serving_flags import name_as_typed, translate

if TYPE_CHECKING:
    from serving.server.models.model_config import ModelConfig
    from serving.server.models.model_versions import ModelVersions
    from serving.server.server import EmbeddedServer

TENSORFLOW_SERVING_IMAGE = "tensorflow/serving:2.20.0"


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGINT, SIGTERM or SIGHUP.

    Returns:
        The exit code: 0 after a signal, or 128 plus its number where it came before the model was served; 2 for bad
        usage, 1 if the model can't be served.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        TERMINATION.interrupt("stopped")
        choose_keras()
        take_any_text()
        options = make_parser().parse_args(translate(arguments))
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
        require_working_directory()
        check(options)
        return serve(options)
    except PipelineError as error:
        name_as_typed(error, arguments)
        TERMINAL.error("error", error)
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        return 128 + number_of(interrupt)


def serve(options: argparse.Namespace) -> int:
    """Binds the port, loads the models, then serves."""
    configs = model_configs(options)
    directory = None if configs else ModelDirectory.open(options.model_dir)
    parameters = batching_parameters(options)
    page = metrics_path(options)
    grpc_tls, rest_tls = certificates(options)
    how = loading(options)
    meter = Metrics()
    with contextlib.ExitStack() as ending:
        # Without REST it shows the host's address alone, and whether it is this machine's.
        bound = ending.enter_context(bind(options.host, 0 if options.disable_rest else options.port))
        host = bound.getsockname()[0]
        listener = None if options.disable_rest else bound
        began = time.monotonic()
        # Heavy libraries are imported only after the options were checked.
        import tensorflow as tf

        from serving.server.batching.scheduler import BatchScheduler
        from serving.server.models.served_models import ServedModels, load, load_configured
        from serving.server.server import Access, EmbeddedServer

        # A GPU then computes scores with all of float32's digits.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        scheduler = None
        if parameters is not None:
            scheduler = BatchScheduler(parameters, meter, options.enable_per_model_batching_parameters)
            ending.callback(scheduler.close)

        def load_and_watch(config: "ModelConfig") -> "ModelVersions":
            model = load_configured(config, options.timeout_seconds, scheduler, meter, how)
            if options.poll_seconds:
                model.watch(options.poll_seconds)
            return model

        served = ServedModels([], load_and_watch, options.allow_version_labels_for_unavailable_models)
        ending.callback(served.close)
        if directory is not None:
            served.add(load(directory.path, options.model_name, options.timeout_seconds, scheduler, meter, how))
        for config in configs:
            served.add(load_configured(config, options.timeout_seconds, scheduler, meter, how))
        models = list(served.values())
        if options.poll_seconds:
            for model in models:
                model.watch(options.poll_seconds)
        if options.model_config_file_poll_wait_seconds:
            served.follow(options.model_config_file, options.model_config_file_poll_wait_seconds)
        seconds = time.monotonic() - began
        if not is_loopback(host):
            TERMINAL.tell(open_to_others(host, grpc_port(options) if listener is None else bound.getsockname()[1]))
        lines = announcements(options, listener, models, seconds)
        lines.append(production(directory, models[0].name, options))
        if grpc_tls is not None and rest_tls is None and listener is not None:
            TERMINAL.tell(
                "warning: --ssl-config-file encrypts gRPC only, as TensorFlow Serving does; for REST give "
                "--rest-ssl-config-file"
            )
        access = Access(
            grpc_tls,
            rest_tls,
            options.grpc_socket_path,
            options.enable_grpc_healthcheck_service,
            allowed_hosts(options),
            options.rest_api_enable_cors_support,
        )
        server = EmbeddedServer(served, limits(options), meter, page, options.allow_reload_config, access)
        asyncio.run(serve_until_stopped(options, server, listener, host, "\n".join(lines)))
    TERMINAL.line("stopped")
    if any(thread.name.startswith("loading") for thread in threading.enumerate()):
        # It is still loading a version, in TensorFlow, which can't be interrupted.
        TERMINATION.leave(0)
    return 0


def limits(options: argparse.Namespace) -> Limits:
    """What the server refuses."""
    return Limits(
        body_bytes=options.max_body_bytes,
        response_bytes=options.max_response_bytes,
        call_seconds=options.timeout_seconds,
        pending_requests=options.max_pending_requests,
        threads=options.rest_api_num_threads,
    )


async def serve_until_stopped(
    options: argparse.Namespace, server: "EmbeddedServer", listener: socket.socket | None, host: str, lines: str
) -> None:
    """Serves until SIGINT, SIGTERM or SIGHUP, then finishes what is under way.

    Args:
        options: The port for gRPC.
        server: The server, which isn't started yet.
        listener: The socket for REST; None for no REST.
        host: The address for gRPC.
        lines: Printed once the server takes requests.
    """
    stop_requested = asyncio.Event()
    for number in SIGNALS:
        # Under nohup the end of a terminal ends nothing.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    port = await server.start(listener, grpc_port(options), host)
    if port is not None:
        lines += f"\ngRPC:        {host}:{port}"
    elif options.grpc_socket_path is not None:
        lines += f"\ngRPC:        unix:{options.grpc_socket_path}"
    TERMINAL.line(lines)
    await stop_requested.wait()
    await server.stop()


def announcements(
    options: argparse.Namespace, listener: socket.socket | None, models: list["ModelVersions"], seconds: float
) -> list[str]:
    """The lines that say what is served and where."""
    if listener is None:
        lines = [f"{model.name} {versions(model)}, loaded in {seconds:.1f} s" for model in models]
        lines.append(
            "REST:        off (as TensorFlow Serving without --rest_api_port); --rest_api_port=8501 answers it"
        )
        return lines
    host, port = listener.getsockname()[:2]
    scheme = "http" if options.rest_ssl_config_file is None else "https"
    root = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
    return [*(announcement(model, root, seconds) for model in models), f"Playground:  {root}"]


def announcement(model: "ModelVersions", page: str, seconds: float) -> str:
    """The lines that say where a model answers, and a command that asks it."""
    url = f"{page}v1/models/{model.name}"
    return (
        f"{model.name} {versions(model)}, loaded in {seconds:.1f} s, answers at {url}\n"
        f"Ask it:      {example_request(model, url)}"
    )


def versions(model: "ModelVersions") -> str:
    """The numbers of the versions that serve, for a line."""
    numbers = model.serving_versions
    return f"version{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def open_to_others(host: str, port: int | None) -> str:
    """The warning about an address that other machines can reach."""
    return (
        f"warning: {host}:{port} is open to other machines, and this server has no access control: whoever reaches "
        "it may use every model; give --host 127.0.0.1, or let only permitted machines reach it"
    )


def production(directory: ModelDirectory | None, name: str, options: argparse.Namespace) -> str:
    """The line that says that this server is for development, with the command for production."""
    run = "docker run --rm -p 8500:8500 -p 8501:8501"
    if directory is not None:
        mount = shlex.quote(f"{directory.base_path}:/models/{name}:ro")
        command = f"{run} -v {mount} -e MODEL_NAME={name} {TENSORFLOW_SERVING_IMAGE}"
    else:
        file = shlex.quote(str(options.model_config_file))
        command = f"tensorflow_model_server --rest_api_port=8501 --model_config_file={file}"
        if options.allow_version_labels_for_unavailable_models:
            command += " --allow_version_labels_for_unavailable_models=true"
    return (
        "Production:  this server is for development; on the same directory run TensorFlow Serving,\n"
        f"             {command}"
    )


def example_request(model: "ModelVersions", url: str) -> str:
    """A command line that asks the model: curl where it takes text, this project's client where it takes token ids.

    For any other model it's a curl of the model's metadata.
    """
    from serving.server.signature import DEFAULT_SIGNATURE

    text = model.example or "<mask>"
    with model.use() as (_, loaded):
        signature = loaded.signatures.get(DEFAULT_SIGNATURE)
        tokenizer = loaded.directory / TOKENIZER
        takes_ids = "tokens" in loaded.signatures and tokenizer.is_dir()
    if signature is not None and [spec.dtype for spec in signature.inputs.values()] == ["string"]:
        body = json.dumps({"instances": [text]}, ensure_ascii=False)
        return f"curl -d {shlex.quote(body)} {url}:predict"
    if takes_ids:
        root = url.partition("/v1/")[0]
        arguments = [text, "--url", root, "--model", model.name, "--tokenizer", str(tokenizer)]
        return shlex.join([sys.executable, "-m", "serving.client", *arguments])
    return f"curl {url}/metadata"


if __name__ == "__main__":
    sys.exit(main())
