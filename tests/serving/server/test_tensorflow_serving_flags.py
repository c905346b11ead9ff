"""A command line of TensorFlow Serving's starts the embedded server too."""

from pathlib import Path

import pytest

from foundation.errors import ConfigError
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
    with pytest.raises(SystemExit):  # argparse names what nobody knows
        read("--model-dir=m", "--no_such_option=1")


def test_every_switch_is_an_option() -> None:
    known = make_parser().format_help()
    for name in SWITCHES:
        assert name in known or name == "--enable-model-warmup", name
