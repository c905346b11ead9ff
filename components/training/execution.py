"""In what precision, with or without XLA, and on how many devices a model trains."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import tensorflow as tf
from tensorflow.python.framework import config as framework_config

from components.modeling.architectures.records import architecture_of
from components.training.devices import Devices
from components.training.members import ALONE, Members
from components.training.sharing import require_even_shares
from foundation.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from components.training.params import TrainParams

FLOAT16_CAPABILITY = (7, 0)
"""The first whose tensor cores make float16 worth its trouble: Volta."""

NARROW = 512
"""Below this hidden size `auto` leaves a GPU float32, whose products are TF32: bfloat16 gains nothing there, and costs.

On an H100 the quickstart's model, 128 wide, trained at 130,000 tokens a second in float32 and at 122,000 in bfloat16,
which took its validation loss from 3.285 to 3.334; distilroberta's shape, 768 wide, at 146,000 and 194,000.
"""

GRAPH_REWRITE = "auto_mixed_precision_onednn_bfloat16"
"""TensorFlow's name for it (https://www.tensorflow.org/api_docs/python/tf/config/optimizer)."""


@dataclasses.dataclass(frozen=True)
class Execution:
    """The precision, the compiler and the devices that a training uses.

    Attributes:
        precision: float32, mixed_bfloat16 or mixed_float16.
        jit_compile: Whether XLA compiles the forward and backward pass.
        device_names: The devices that each have a copy of the model and a share of every batch.
        devices: All devices that TensorFlow may use.
        reasons: For each setting that was `auto`, why this was chosen for it.
        members: The processes that share each batch, each with such devices.
    """

    precision: str
    jit_compile: bool
    device_names: tuple[str, ...]
    devices: Devices
    reasons: dict[str, str]
    members: Members = ALONE

    @property
    def replicas(self) -> int:
        """Copies of the model that share each batch."""
        return self.members.count * len(self.device_names)

    @property
    def all_device_names(self) -> list[str]:
        """The devices of all processes."""
        if self.members.count == 1:
            return list(self.device_names)
        return [f"worker {rank} {name}" for rank in range(self.members.count) for name in self.device_names]

    @property
    def in_graph(self) -> bool:
        """Whether TensorFlow's graph optimizer, rather than Keras' policy, makes the precision.

        It does on CPUs that multiply bfloat16. Of a finished graph it turns matrix products to bfloat16, and leaves
        what needs the digits (sums over many, exponentials, norms) as it is. A policy makes everything between the
        layers bfloat16 too: of the quickstart's model, 4% more perplexity in no less time. XLA's graphs it never sees.
        """
        return self.precision == "mixed_bfloat16" and self.devices.bfloat16 and not self.jit_compile

    def is_deterministic(self, wanted: bool | Literal["auto"]) -> bool:
        """Whether operations give the same result each time, given `train.deterministic`; auto says so on CPUs."""
        return self.devices.kind == "CPU" if wanted == "auto" else wanted

    @property
    def product_dtype(self) -> tf.DType:
        """What matrix products are computed in."""
        return tf.as_dtype(self.precision.removeprefix("mixed_"))

    def __str__(self) -> str:
        """One line for the person who watches the run."""
        places = f"{self.replicas} replicas" if self.replicas > 1 else self.device_names[0]
        if self.members.count > 1:
            places += f" on {self.members.count} workers"
        line = f"{self.precision}, {'XLA' if self.jit_compile else 'no XLA'}, {places}"
        return f"{line} (auto: {'; '.join(dict.fromkeys(self.reasons.values()))})" if self.reasons else line

    def as_plain(self) -> dict[str, Any]:
        """The same as plain values, for a report."""
        return {
            "precision": self.precision,
            "jit_compile": self.jit_compile,
            "workers": self.members.count,
            "replicas": self.replicas,
            "devices": self.all_device_names,
            "chosen_by_auto": self.reasons,
        }

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Where the model and its optimizer are made, trained and saved.

        The global precision is what it was afterwards: what this process does next is not to inherit it.
        """
        mixed_precision = tf.keras.mixed_precision
        before = mixed_precision.global_policy()
        strategy = self.members.strategy
        if strategy is None:
            several = len(self.device_names) > 1
            strategy = tf.distribute.MirroredStrategy(self.device_names) if several else tf.distribute.get_strategy()
        rewritten = tf.config.optimizer.get_experimental_options().get(GRAPH_REWRITE, False)
        mixed_precision.set_global_policy("float32" if self.in_graph else self.precision)
        tf.config.optimizer.set_experimental_options({GRAPH_REWRITE: self.in_graph})
        try:
            with strategy.scope():
                yield
        finally:
            tf.config.optimizer.set_experimental_options({GRAPH_REWRITE: rewritten})
            mixed_precision.set_global_policy(before)


def choose_execution(
    params: "TrainParams", devices: Devices, config: "PretrainedConfig", batch_size: int, members: Members = ALONE
) -> Execution:
    """What the params ask for, and where they say `auto`, what suits the devices.

    Args:
        params: `precision`, `jit_compile` and `strategy`.
        devices: Those there are.
        config: The model's configuration.
        batch_size: Blocks that the replicas share.
        members: The processes that share them, each with all of its devices.

    Raises:
        ConfigError: If the devices or the architecture can't do what the params ask for, naming both.
    """
    reasons = {}
    precision: str = params.precision
    jit_compile = params.jit_compile
    in_graph = devices.bfloat16 and jit_compile is not True
    if precision == "auto":
        precision, reasons["precision"] = choose_precision(devices, config, in_graph)
    elif not in_graph and (reason := why_not_in(precision, config)):
        raise ConfigError(
            f"with train.precision {precision}, the architecture must be one whose code can compute in it",
            received=f"train.precision {precision} for {reason}",
            remedy="set --train.precision auto or float32",
        )
    elif precision == "mixed_float16" and devices.kind == "CPU":
        raise ConfigError(
            "with train.precision mixed_float16, there must be a GPU: a CPU computes float16 by way of float32, slowly",
            received=f"train.precision mixed_float16 on {devices}",
            remedy="set --train.precision auto, float32 or mixed_bfloat16",
        )
    if jit_compile == "auto":
        jit_compile, reasons["jit_compile"] = choose_jit_compile(devices, config)
    elif jit_compile and (reason := architecture_of(config).why_not_compiled(config)):
        raise ConfigError(
            "with train.jit_compile true, the architecture must be one that XLA can compile",
            received=f"train.jit_compile true for {reason}",
            remedy="set --train.jit_compile auto or false",
        )
    names = devices.names[:1]
    if members.count > 1:
        names = devices.names
        require_even_shares(params, batch_size, members.count, len(names))
    elif params.strategy == "auto":
        # Where batches grow, all of them are multiples of this.
        names, reasons["strategy"] = choose_replicas(devices, math.gcd(batch_size, params.batch_size_start or 0))
    elif params.strategy == "mirrored":
        names = devices.names
        if len(names) < 2:
            raise ConfigError(
                "with train.strategy mirrored, there must be two devices or more",
                received=f"train.strategy mirrored on {devices}",
                remedy="set --train.strategy auto or one_device",
            )
        for size in (batch_size, params.batch_size_start):
            if size is not None and size % len(names):
                setting = f"train.batch_size{'' if size == batch_size else '_start'}"
                raise ConfigError(
                    f"under train.strategy mirrored {setting} must be a multiple of the number of devices",
                    received=f"train.strategy mirrored on {devices}, for batches of {size} blocks ({setting})",
                    remedy=f"set --{setting} to a multiple of {len(names)}, or --train.strategy to auto",
                )
    return Execution(precision, bool(jit_compile), names, devices, reasons, members)


def choose_precision(devices: Devices, config: "PretrainedConfig", in_graph: bool) -> tuple[str, str]:
    """The fastest precision that the devices have hardware for, and why.

    Args:
        devices: Those there are.
        config: The model's configuration.
        in_graph: Whether bfloat16 would come as `Execution.in_graph` says, which every architecture can do.
    """
    if in_graph:
        return "mixed_bfloat16", f"{devices}"
    capability = devices.compute_capability
    if capability is None or capability < FLOAT16_CAPABILITY:
        return "float32", f"{devices}"
    precision = "mixed_bfloat16" if devices.multiply_bfloat16 else "mixed_float16"
    if reason := why_not_in(precision, config):
        return "float32", reason
    hidden_size = architecture_of(config).hidden_size(config)
    if precision == "mixed_bfloat16" and hidden_size < NARROW:
        return "float32", f"{devices}, a hidden size of {hidden_size}"
    return precision, f"{devices}"


def choose_jit_compile(devices: Devices, config: "PretrainedConfig") -> tuple[bool, str]:
    """Whether XLA compiles the step, and why."""
    if devices.kind == "CPU":
        return False, f"{devices}"  # where it is slower
    if reason := architecture_of(config).why_not_compiled(config):
        return False, reason
    return True, f"{devices}"


def why_not_in(precision: str, config: "PretrainedConfig") -> str | None:
    """Why a model can't compute in a precision as Keras' policy; None if it can."""
    condition = architecture_of(config).why_not_in.get(precision)
    return None if condition is None else condition(config)


def choose_replicas(devices: Devices, batch_size: int) -> tuple[tuple[str, ...], str]:
    """The devices that share the batches, and why: as many of the GPUs as divide a batch evenly."""
    if devices.kind == "CPU":
        return devices.names[:1], f"{devices}"
    replicas = max(count for count in range(1, len(devices.names) + 1) if batch_size % count == 0)
    shared = "" if replicas == len(devices.names) else f", {replicas} of which share batches of {batch_size} evenly"
    return devices.names[:replicas], f"{devices}{shared}"


@contextlib.contextmanager
def deterministic_operations(wanted: bool) -> Iterator[None]:
    """Makes TensorFlow's operations deterministic for as long as the context lasts, if that is wanted.

    On a CPU it cost nothing that could be measured (RoBERTa of 4 layers x 256, vocabulary 50,265, batch 16 x 128). On
    a GPU the sums behind gathers and the cross-entropy go by slower algorithms, and some operations have none.
    """
    before = framework_config.is_op_determinism_enabled()
    if wanted:
        tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            # What this process does next may draw without a seed, which deterministic operations refuse.
            framework_config.disable_op_determinism()
