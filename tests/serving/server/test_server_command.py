"""`python -m serving` as a process: what it prints, what it refuses, how it ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from foundation.errors import ConfigError
from serving.server import command_line, text_protos
from serving.server.options import make_parser
from serving.server.tensorflow_serving_flags import translate


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "serving", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def finished(*arguments: object) -> tuple[int, str]:
    with started(*arguments) as process:
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGINT, signal.SIGHUP))],
)
def test_it_says_how_to_ask_and_ends_when_told(example_version: Path, number: signal.Signals) -> None:
    with started("--model-dir", example_version.parent, "--port", 0) as process:
        first = process.stdout.readline()
        assert first.startswith("m version 7, loaded in ")
        url = first.split()[-1]
        ask, playground, production, docker, grpc = (process.stdout.readline() for _ in range(5))
        assert f"curl {url}/metadata" in ask
        assert playground.split() == ["Playground:", url.removesuffix("v1/models/m")]
        assert "development" in production
        assert grpc.startswith("gRPC:        127.0.0.1:")
        assert f"-v {example_version.parent}:/models/m:ro -e MODEL_NAME=m tensorflow/serving" in docker
        with httpx.Client(trust_env=False) as client:  # keeps a connection open over the end
            assert client.post(f"{url}:predict", json={"instances": [3]}).json() == {"predictions": [3.5]}
            process.send_signal(number)
            assert process.wait(30) == 0
        assert process.stdout.read() == "stopped\n"
        assert process.stderr.read() == ""


def test_a_request_under_way_is_answered_before_the_end(example_version: Path) -> None:
    with started("--model-dir", example_version, "--model-name", "other", "--port", 0) as process:
        url = process.stdout.readline().split()[-1]
        assert url.endswith("/v1/models/other")
        host, port = url.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as connection:
            body = b'{"signature_name": "slow", "inputs": [300]}'
            head = f"POST /v1/models/other:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            # The next answer comes after the request above was taken.
            assert httpx.get(url, trust_env=False).status_code == 200
            process.terminate()
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert process.wait(30) == 0


@pytest.mark.slow
def test_a_load_under_way_delays_no_end(example_version: Path, tmp_path: Path) -> None:
    from tests.serving.server import example_model

    shutil.copytree(example_version, tmp_path / "m/1")
    shutil.copytree(example_version, tmp_path / "2")
    example_model.write_warm_up(tmp_path / "2", "slow", 1, 1e9)
    options = ["--port", 0, "--poll-seconds", 0.1, "--timeout-seconds", 100]
    with started("--model-dir", tmp_path / "m", *options) as process:
        url = process.stdout.readline().split()[-1]
        while not process.stdout.readline().startswith("gRPC:"):
            pass
        (tmp_path / "2").rename(tmp_path / "m/2")
        with httpx.Client(trust_env=False) as client:
            while "LOADING" not in client.get(url).text:
                time.sleep(0.05)
        time.sleep(1)  # it is warming up by now
        began = time.monotonic()
        process.terminate()
        assert process.wait(30) == 0
        assert time.monotonic() - began < 5
        assert process.stdout.read().endswith("stopped\n")


def test_it_starts_by_a_command_line_of_tensorflow_serving_in_which_rest_is_off(
    example_version: Path, tmp_path: Path
) -> None:
    import grpc

    from serving.server.grpc.health_service import CLASSES

    port, read = free_port(), CLASSES["HealthCheckResponse"].FromString
    options = [f"--model_base_path={example_version.parent}", f"--port={port}", "--rest_api_port=0"]
    options += [f"--grpc_socket_path={tmp_path / 'socket'}", "--enable_grpc_healthcheck_service=true"]
    with started(*options, "--enable_batching=false") as process:
        assert process.stdout.readline().startswith("default version 7, loaded in ")
        assert process.stdout.readline().startswith("REST:        off")
        while not (line := process.stdout.readline()).startswith("gRPC:"):
            assert line
        assert line.split() == ["gRPC:", f"127.0.0.1:{port}"]
        listening = [one for one in psutil.Process(process.pid).net_connections() if one.status == "LISTEN"]
        assert [one.laddr.port for one in listening] == [port]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert read(check(b"", timeout=30)).status == 1
            with pytest.raises(grpc.RpcError) as caught:
                check(CLASSES["HealthCheckRequest"](service="x").SerializeToString(), timeout=30)
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        with grpc.insecure_channel(f"unix:{tmp_path / 'socket'}") as channel:
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=60)
            assert read(next(watch)).status == 1
            process.terminate()
            assert [read(message).status for message in watch] == [2]
        assert process.wait(30) == 0


def test_what_is_not_taken_of_tensorflow_serving_ends_with_2(example_version: Path) -> None:
    code, errors = finished(f"--model_base_path={example_version.parent}", "--num_tflite_pools=2")
    assert code == 2
    assert errors.startswith("error: --num_tflite_pools must be left out: ")


def test_a_taken_port_is_an_error(example_version: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, errors = finished("--model-dir", example_version.parent, "--port", port)
    assert code == 1
    assert errors.startswith("error: the server's address and port must be free")
    assert str(port) in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b"])
def test_a_host_that_is_not_this_machine_is_refused(example_version: Path, host: str) -> None:
    code, errors = finished("--model-dir", example_version.parent, "--port", 0, "--host", host)
    assert code == 2
    assert errors.startswith("error: --host must be an address of this machine")
    assert errors.count("\n") == 1


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    for path, what in ((tmp_path, "holds neither"), (tmp_path / "none", "is not a directory")):
        code, errors = finished("--model-dir", path)
        assert code == 2
        assert what in errors
        assert errors.count("\n") == 1


def test_a_model_that_does_not_load_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/saved_model.pb").write_bytes(b"no graph")
    code, errors = finished("--model-dir", tmp_path, "--port", 0)
    assert code == 1
    assert errors.startswith("error: the versions of the model to be served must load. Received: version 1")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        *((host, False) for host in ("127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1", "::1%lo")),
        *((host, True) for host in ("0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1")),
    ],
)
def test_which_addresses_other_machines_reach(host: str, is_open: bool) -> None:
    from serving.__main__ import is_loopback

    assert is_loopback(host) is not is_open


def test_it_warns_of_others_in_one_line_and_lets_them_change_models_where_told_so(example_version: Path) -> None:
    import grpc
    from google.protobuf import text_format
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    configs = f"config {{ name: 'n' base_path: '{example_version.parent}' model_platform: 'tensorflow' }}"
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(f"config {{ model_config_list {{ {configs} }} }}", request)
    script = "import sys, serving.__main__ as m\nm.is_loopback = lambda host: False\nsys.exit(m.main(sys.argv[1:]))"
    arguments = ["--model-dir", str(example_version.parent), "--port", "0", "--allow-reload-config"]
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (line := process.stdout.readline()).startswith("gRPC:"):
            assert line
        with grpc.insecure_channel(line.removeprefix("gRPC:").strip()) as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            assert stub.HandleReloadConfigRequest(request, timeout=60).status.error_code == 0
        process.terminate()
        _, errors = process.communicate(timeout=60)
    [warning] = [line for line in errors.splitlines() if "warning" in line]
    assert warning.startswith("warning: 127.0.0.1:")
    assert "no access control" in warning


def refusal(*arguments: str) -> str:
    """The one line that the command ends with, at exit code 2, before it reads a model."""

    def read() -> None:
        options = make_parser().parse_args(translate(arguments))
        command_line.check(options)
        command_line.batching_parameters(options)

    with pytest.raises(ConfigError) as caught:
        read()
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--max-response-bytes", "0"),
        ("--max-response-bytes", "2147483648"),
        ("--port", "70000"),
        ("--timeout-seconds", "0"),
        ("--timeout-seconds", "inf"),
        ("--model-name", "a/b"),
        ("--poll-seconds", "nan"),
        ("--poll-seconds", "1e10"),
        ("--model-config-file-poll-wait-seconds", "inf"),
        ("--load-retry-interval-micros", "x"),
        ("--load-retry-interval-micros", "nan"),
        ("--load-retry-interval-micros", "1e400"),
        ("--rest-api-num-threads", "1.5"),
        ("--max-num-load-retries", ""),
        *(("--grpc-socket-path", path) for path in ("", "/tmp/" + "a" * 103, "/no/such/directory/socket", __file__)),
        *((f"--tensorflow-{kind}-parallelism", "2147483648") for kind in ("session", "intra-op", "inter-op")),
    ],
)
def test_values_that_cannot_be_meant_are_refused(option: str, value: str) -> None:
    said = refusal("--model-dir", ".", option, value)
    assert said.startswith(f"{option} must ")
    assert "Way out: " in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--batching-parameters-file", "none"],
            "--batching-parameters-file must be given together with --enable-batching",
        ),
        (["--enable-per-model-batching-parameters"], "--enable-per-model-batching-parameters must be given"),
        (["--model-config-file-poll-wait-seconds", "5"], "over 0 together with --model-config-file"),
        (["--disable-grpc", "--grpc-port", "0"], "--disable-grpc and --grpc-port must not be given together"),
        (["--batching-parameters-file", "none", "--enable-batching"], "No such file"),
        (["--enable-batching", "--disable-batching"], "must not be given together"),
        (["--max-batch-size", "0"], "max_batch_size must be at least 1"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: list[str], message: str) -> None:
    assert message in refusal("--model-dir", ".", *options)


@pytest.mark.parametrize("kind", sorted(text_protos.EXAMPLES))
def test_a_configuration_that_says_something_else_is_refused_with_an_example(kind: str, tmp_path: Path) -> None:
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    message = text_protos.CLASSES.get(kind, ModelServerConfig)
    half, example = tmp_path / "half", tmp_path / "example"
    half.write_text("config {")
    with pytest.raises(ConfigError, match=f"--file must be a {kind}") as caught:
        text_protos.read("--file", half, message())
    example.write_text(caught.value.remedy.partition("for example ")[2])
    assert text_protos.read("--file", example, message()) != message()


def test_help_does_not_wait_for_tensorflow() -> None:
    script = "import sys, serving.__main__ as m, contextlib\nwith contextlib.suppress(SystemExit): m.main(['--help'])\n"
    script += "print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ})
    assert done.stdout.endswith("False\n")


@pytest.mark.slow
def test_grpc_answers_where_it_says(example_version: Path) -> None:
    import grpc
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

    with started("--model-dir", example_version.parent, "--port", 0, "--grpc-port", 0) as process:
        lines = [process.stdout.readline() for _ in range(6)]
        address = lines[5].removeprefix("gRPC:").strip()
        with grpc.insecure_channel(address) as channel:
            request = get_model_status_pb2.GetModelStatusRequest()
            request.model_spec.name = "m"
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            assert stub.GetModelStatus(request, timeout=30).model_version_status[0].version == 7
            code, errors = finished(
                "--model-dir", example_version.parent, "--port", 0, "--grpc-port", address.split(":")[1]
            )
        assert code == 1
        assert "--grpc-port" in errors
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("options", "port"),
    [
        ([], 8500),
        (["--port", "0"], 0),
        (["--port", "0", "--grpc-port", "8500"], 8500),
        (["--grpc-port", "0"], 0),
        (["--disable-grpc"], None),
    ],
)
def test_grpc_is_answered_where_tensorflow_serving_answers_it(options: list[str], port: int | None) -> None:
    from serving.server.command_line import grpc_port
    from serving.server.options import make_parser

    assert grpc_port(make_parser().parse_args(["--model-dir", ".", *options])) == port
