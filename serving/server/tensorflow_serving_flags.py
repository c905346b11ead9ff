"""Reads a command line of TensorFlow Serving's as one of this server's, so that a copied one works."""

import re
from collections.abc import Sequence

from foundation.errors import ConfigError, PipelineError

OTHER_NAMES = {
    "--model-base-path": "--model-dir",
    "--rest-api-port": "--port",
    "--rest-api-timeout-in-ms": "--timeout-seconds",
    "--file-system-poll-wait-seconds": "--poll-seconds",
}
"""TensorFlow Serving's options (with dashes) that have another name here."""
ITS_OWN = ("--rest-api-port", "--model-base-path")
"""With one of these a command line is TensorFlow Serving's: `--port` is then its port for gRPC, 0 means no port, and
there is no REST without a `--rest_api_port`."""
SWITCHES = (
    *("--enable-batching", "--enable-per-model-batching-parameters", "--enable-model-warmup"),
    *("--allow-version-labels-for-unavailable-models", "--enable-grpc-healthcheck-service"),
    *("--rest-api-enable-cors-support", "--disable-batching", "--disable-grpc", "--disable-rest"),
    "--allow-reload-config",
    "--prefer-tflite-model",
)
"""Options that are on or off: alone, or with `=true` or `=false`."""
ON_BY_DEFAULT = {"--enable-model-warmup": "--disable-model-warmup"}
"""Switches that only do something when they are off, and the option here that switches them off."""
_GPU = "this server takes TensorFlow's own settings of the GPU"
_TPU = "this server doesn't use TPUs"
_LITE = "there is an interpreter for each processor"
_XLA = "this server runs a graph as TensorFlow does without options; set TF_XLA_FLAGS"
NOT_TAKEN = {
    "--platform-config-file": "it replaces the options for batching and parallelism, which are given one by one here",
    "--tensorflow-session-config-file": "the session's options can't be changed but for its parallelism",
    "--thread-pool-factory-config-file": "there is one kind of thread pool",
    "--grpc-channel-arguments": "gRPC's own settings can't be changed",
    "--grpc-max-threads": "gRPC's calls are answered without a thread for each",
    "--use-alts-credentials": "connections are encrypted with TLS only: see --ssl-config-file",
    "--num-load-threads": "versions are loaded one after the other",
    "--num-unload-threads": "versions are unloaded one after the other",
    "--flush-filesystem-caches": "files are read once, and the system's cache is left alone",
    "--mixed-precision": "a graph is run in the precision in which it was exported",
    "--enable-profiler": "there is no profiler service",
    "--force-allow-any-version-labels-for-unavailable-models": "use --allow-version-labels-for-unavailable-models",
    "--enable-signature-method-name-check": "the names are checked for classify and regress requests, not for predict",
    "--remove-unused-fields-from-bundle-metagraph": "it saves no memory here",
    "--enable-serialization-as-tensor-content": "tensors are answered in the fields of their types, which all can read",
    "--per-process-gpu-memory-fraction": _GPU,
    "--skip-initialize-tpu": _TPU,
    "--num-tflite-pools": _LITE,
    "--num-tflite-interpreters-per-pool": _LITE,
    "--xla-cpu-compilation-enabled": _XLA,
    "--xla-gpu-compilation-enabled": _XLA,
    "--version": "this server has the pipeline's version: python pipeline.py --version",
}
"""TensorFlow Serving's options (with dashes) that aren't taken here, and why."""


def translate(arguments: Sequence[str]) -> list[str]:
    """A command line in this server's own spelling.

    Underscores in an option's name become dashes, `--option=value` stays, `--switch=true` and `--switch=false` become
    an option or none.

    Raises:
        ConfigError: For an option of TensorFlow Serving's that isn't taken, or a switch with another value.
    """
    names = {split(word)[0] for word in arguments}
    is_its_own = bool(names & set(ITS_OWN))
    translated: list[str] = []
    words = list(arguments)
    while words:
        original = words.pop(0)
        name, value = split(original)
        if not name:
            translated.append(original)
        elif name in NOT_TAKEN:
            raise ConfigError(
                f"{original.partition('=')[0]} must be left out: {NOT_TAKEN[name]}",
                received=original,
                remedy="leave it out; it has an effect on TensorFlow Serving only",
            )
        elif name in SWITCHES:
            translated += to_switch(name, value)
        elif name in OTHER_NAMES or is_its_own:
            if value is None and words and not words[0].startswith("--"):
                value = words.pop(0)
            translated += to_own(name, value, names) if is_its_own else to_option(name, value)
        else:
            translated.append(name if value is None else f"{name}={value}")
    if is_its_own:
        if "--rest-api-port" not in names:
            translated.append("--disable-rest")
        if not names & {"--model-name", "--model-config-file"}:
            translated.append("--model-name=default")
    return translated


def name_as_typed(error: PipelineError, arguments: Sequence[str]) -> None:
    """Has an error name options as they were typed: with underscores, or as TensorFlow Serving names them."""
    typed = {split(word)[0]: word.partition("=")[0] for word in arguments}
    is_its_own = bool(typed.keys() & set(ITS_OWN))
    theirs: dict[str, str] = {}
    for name, word in typed.items():
        # In a command line of TensorFlow Serving's `--port` is another's name.
        theirs["--grpc-port" if is_its_own and name == "--port" else OTHER_NAMES.get(name, name)] = word
    if is_its_own:
        theirs.setdefault("--grpc-port", "--port")
    error.rule, error.remedy = (
        re.sub("--[a-z-]+[a-z]", lambda name: theirs.get(name[0], name[0]), text) for text in (error.rule, error.remedy)
    )


def to_own(name: str, value: str | None, names: set[str]) -> list[str]:
    """An option in a command line that is TensorFlow Serving's, all of whose options are `names`."""
    if name in ("--model-name", "--model-base-path") and "--model-config-file" in names:
        return []  # ignored there
    if name in ("--port", "--rest-api-port") and value is not None and is_zero(value):
        return ["--disable-grpc" if name == "--port" else "--disable-rest"]
    return to_option("--grpc-port" if name == "--port" else name, value)


def to_option(name: str, value: str | None) -> list[str]:
    """An option under the name, and with its value in the unit, that it has here."""
    known = OTHER_NAMES.get(name, name)
    return [known] if value is None else [f"{known}={to_seconds(name, value)}"]


def is_zero(value: str) -> bool:
    """Whether an option's value is the number 0."""
    return value.strip().lstrip("+-").strip("0") == "" and "0" in value


def split(word: str) -> tuple[str, str | None]:
    """An option's name with dashes, and its value if it has one; no name for what is no option."""
    if not word.startswith("--") or word == "--":
        return "", None
    name, mark, value = word.partition("=")
    return name.replace("_", "-"), value if mark else None


def to_switch(name: str, value: str | None) -> list[str]:
    """A switch as an option without a value, or none.

    Raises:
        ConfigError: If its value is neither `true` nor `false`.
    """
    if value not in (None, "true", "false", "1", "0"):
        raise ConfigError(f"{name} must be true or false", received=str(value), remedy=f"write {name}=true")
    is_on = value in (None, "true", "1")
    if name in ON_BY_DEFAULT:
        return [] if is_on else [ON_BY_DEFAULT[name]]
    return [name] if is_on else []


def to_seconds(name: str, value: str) -> str:
    """An option's value in the unit that it has here."""
    if name != "--rest-api-timeout-in-ms":
        return value
    try:
        return f"{float(value) / 1000:g}"
    except ValueError:
        return value
