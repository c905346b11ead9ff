"""The parser of command lines: one message that says the rule, what came and the way out, and never the usage."""

import pytest

from foundation.errors import ConfigError, PipelineError
from foundation.option_parser import LONGEST_SHOWN, OptionParser
from serving.server.tensorflow_serving_flags import name_as_typed


@pytest.fixture
def parser():
    parser = OptionParser(prog="program")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--path")
    source.add_argument("--url")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--quiet", action="store_true")
    return parser


def test_what_is_right_is_read(parser):
    options = parser.parse_args(["--path", "a", "--seconds=-1e3", "--quiet"])
    assert (options.path, options.count, options.seconds, options.quiet) == ("a", 3, -1000, True)


@pytest.mark.parametrize(
    ("arguments", "rule", "received", "remedy"),
    [
        (["--count=x"], "--count must be a whole number", "'x'", "leave --count out for its default"),
        (["--count", "1.5"], "--count must be a whole number", "'1.5'", "leave --count out for its default"),
        (["--seconds", "x"], "--seconds must be a number", "'x'", "see --help"),
        (["--seconds"], "--seconds must be a number", "--seconds without a value", "see --help"),
        (["--path"], "--path must have its value", "--path without a value", "see --help"),
        (["--quiet=1"], "--quiet must have no value", "'1'", "write --quiet alone"),
        (["--path=a", "--url=b"], "--url and --path must not be given together", "both", "give one"),
        ([], "--path or --url must be given", "none of them", "see --help"),
        (["--path=a", "b"], "the command line must be", "b, behind no option", "write the option before"),
        (["--path=a", "--cuont=4"], "the options must be known", "the command line has --cuont", "nearest: --count"),
        (["--path=a", "--coun", "4"], "the options must be known", "the command line has --coun", "nearest: --count"),
    ],
)
def test_what_is_wrong_is_one_message(parser, arguments, rule, received, remedy):
    with pytest.raises(ConfigError) as caught:
        parser.parse_args(arguments)
    assert caught.value.rule.startswith(rule)
    assert caught.value.received.startswith(received)
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_text_that_must_be_there_may_begin_with_a_dash_behind_two(parser):
    parser.add_argument("texts", nargs="+")
    with pytest.raises(ConfigError, match=r"texts must be given.*behind a --"):
        parser.parse_args(["--path=a"])
    assert parser.parse_args(["--path=a", "--", "-x"]).texts == ["-x"]


def test_a_long_value_is_cut(parser):
    with pytest.raises(ConfigError) as caught:
        parser.parse_args(["--path=a", f"--count={'9x' * 1000}"])
    assert len(caught.value.received) == LONGEST_SHOWN


@pytest.mark.parametrize(
    ("arguments", "rule", "shown"),
    [
        (["--max_body_bytes=0"], "--max-body-bytes must be", "--max_body_bytes must be"),
        (["--port", "x"], "--port must be", "--port must be"),
        (["--rest_api_timeout_in_ms=x"], "--timeout-seconds must be", "--rest_api_timeout_in_ms must be"),
        (["--rest_api_port=x"], "--port and --grpc-port", "--rest_api_port and --port"),
        (["--rest-api-port=1", "--port=x"], "--grpc-port not --grpc-ports", "--port not --grpc-ports"),
    ],
)
def test_errors_name_options_as_they_were_typed(arguments, rule, shown):
    error = PipelineError(rule, received="", remedy=rule)
    name_as_typed(error, arguments)
    assert (error.rule, error.remedy) == (shown, shown)
