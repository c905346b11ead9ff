"""A command line of TensorFlow Serving's starts the embedded server too."""

from argparse import Namespace
from pathlib import Path

import pytest

from foundation.errors import ConfigError
from serving.__main__ import main
from serving.server import command_line
from serving.server.options import make_parser
from serving.server.tensorflow_serving_flags import NOT_TAKEN, SWITCHES, translate


def read(*arguments: str) -> dict[str, object]:
    return vars(make_parser().parse_args(translate(arguments)))


def test_a_copied_command_line() -> None:
    options = read(
        *("--port=9000", "--rest_api_port=9001", "--model_name=m", "--model_base_path=/models/m"),
        *("--enable_batching=true", "--rest_api_timeout_in_ms=1500", "--file_system_poll_wait_seconds=5"),
        *("--max_num_load_retries=2", "--load_retry_interval_micros=500000", "--enable_model_warmup=false"),
        *("--saved_model_tags=serve,gpu", "--rest_api_enable_cors_support", "--grpc_socket_path", "/tmp/s"),
    )
    assert (options["grpc_port"], options["port"]) == (9000, 9001)
    assert (options["model_name"], options["model_dir"]) == ("m", Path("/models/m"))
    assert (options["enable_batching"], options["timeout_seconds"], options["poll_seconds"]) == (True, 1.5, 5)
    assert (options["disable_model_warmup"], options["grpc_socket_path"]) == (True, "/tmp/s")
    assert options["rest_api_enable_cors_support"]
    loading = command_line.loading(
        make_parser().parse_args(translate(["--model-dir=x", "--saved_model_tags=serve,gpu"]))
    )
    assert (loading.tags, loading.retries, loading.retry_seconds, loading.warm_up) == (("serve", "gpu"), 5, 60.0, True)


@pytest.mark.parametrize("spell", [str, lambda word: word.replace("-", "_").replace("__", "--", 1)])
@pytest.mark.parametrize("join", [lambda name, value: [f"{name}={value}"], lambda name, value: [name, value]])
def test_underscores_or_dashes_and_values_with_or_without_a_sign(spell, join) -> None:
    arguments = [
        *join(spell("--rest-api-port"), "1"),
        *join(spell("--model-base-path"), "/m_y"),
        *join(spell("--rest-api-timeout-in-ms"), "2500"),
        *join(spell("--port"), "2"),
    ]
    options = read(*arguments)
    assert (options["port"], options["grpc_port"], options["timeout_seconds"]) == (1, 2, 2.5)
    assert (options["model_dir"], options["model_name"]) == (Path("/m_y"), "default")


@pytest.mark.parametrize("spell", [lambda name, value: [f"{name}={value}"], lambda name, value: [name, value]])
def test_a_port_of_0_is_none(spell) -> None:
    options = read("--model_base_path=/m", *spell("--rest_api_port", "0"), *spell("--port", "8500"))
    assert (options["disable_rest"], options["disable_grpc"], options["grpc_port"]) == (True, False, 8500)
    options = read("--model_base_path=/m", *spell("--rest_api_port", "8501"), *spell("--port", "0"))
    assert (options["disable_rest"], options["disable_grpc"], options["port"]) == (False, True, 8501)
    # Of this server's own options, 0 is any free port.
    options = read("--model-dir=/m", *spell("--port", "0"), *spell("--grpc-port", "0"))
    assert (options["disable_rest"], options["disable_grpc"], options["port"]) == (False, False, 0)


def test_without_a_rest_api_port_there_is_no_rest() -> None:
    assert read("--model_base_path=/m", "--port=8500")["disable_rest"]
    assert not read("--model-dir=/m")["disable_rest"]


def test_a_configuration_file_goes_before_a_name_and_a_base_path() -> None:
    options = read(
        *("--rest_api_port=8501", "--model_config_file=/f", "--model_name=x", "--model_base_path", "/m"),
        *("--num_request_iterations_for_warmup=0", "--load_retry_interval_micros=-1"),
    )
    assert (options["model_config_file"], options["model_dir"], options["model_name"]) == (Path("/f"), None, None)
    loading = command_line.loading(Namespace(**options))
    assert (loading.warm_up_iterations, loading.retry_seconds) == (1, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model_base_path=/m", "--port=0"], "must answer REST or gRPC"),
        (["--model_base_path=/m", "--port=9000", "--rest_api_port=9000"], "must differ"),
        (["--model-dir=/m", "--port=8500"], "must differ"),
        (
            ["--model-dir=/m", "--tensorflow_session_parallelism=2", "--tensorflow_inter_op_parallelism=1"],
            "--tensorflow-session-parallelism",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        command_line.check(Namespace(**read(*arguments)))


def test_own_options_mean_what_they_meant() -> None:
    options = read(
        "--model-dir", "a_b", "--port", "3", "--grpc-port", "4", "--allowed-hosts", "--x_y".removeprefix("--")
    )
    assert (options["port"], options["grpc_port"], options["model_name"]) == (3, 4, None)
    assert (options["model_dir"], options["allowed_hosts"]) == (Path("a_b"), "x_y")


@pytest.mark.parametrize("value", ["true", "false", "1", "0", None])
def test_switches(value: str | None) -> None:
    word = "--enable_batching" if value is None else f"--enable_batching={value}"
    assert read("--model-dir=m", word)["enable_batching"] is (value not in ("false", "0"))
    with pytest.raises(ConfigError, match="--enable-batching must be true or false"):
        translate(["--enable_batching=yes"])


def test_what_is_not_taken_is_refused_by_name() -> None:
    for name in NOT_TAKEN:
        spelt = f"--{name[2:].replace('-', '_')}"
        for word in (f"{spelt}=1", spelt):
            with pytest.raises(ConfigError, match=f"{spelt} must be left out: "):
                translate(["--model_base_path=/m", word])
    with pytest.raises(ConfigError, match="the options must be known"):
        read("--model-dir=m", "--no_such_option=1")


def test_every_switch_is_an_option() -> None:
    known = make_parser().format_help()
    for name in SWITCHES:
        assert name in known or name == "--enable-model-warmup", name


def test_a_file_of_models_has_their_names() -> None:
    line = ["--model_config_file=/config/models.config", "--rest_api_port=8501", "--port=0"]
    assert translate(line) == ["--model-config-file=/config/models.config", "--port=8501", "--disable-grpc"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model_base_path=/none"], "--model_base_path must be a base path"),
        (["--rest_api_port=99999"], "--rest_api_port must be from 0 to 65535"),
        (
            ["--rest_api_port=8501", "--port=99999"],
            "--port must be from 0 to 65535. Received: 99999. Way out: try --port",
        ),
        (
            ["--rest_api_port=1", "--file-system-poll-wait-seconds=-1"],
            "--file-system-poll-wait-seconds must be at least",
        ),
        (["--rest_api_port=8500", "--port=8500"], "Way out: give gRPC another: --port."),
        (["--model-dir=/none", "--port=99999"], "--port must be from 0 to 65535"),
    ],
)
def test_errors_name_options_as_they_were_typed(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *["--model_base_path=/none"][: "--rest" in arguments[0]]]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
