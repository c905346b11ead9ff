"""What TensorFlow computes on."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import tensorflow as tf

BFLOAT16_CAPABILITY = (8, 0)
"""The first GPUs that multiply bfloat16 matrices in hardware: Ampere."""
CPU_INFORMATION = Path("/proc/cpuinfo")
"""Where Linux lists what the processor can do."""


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that TensorFlow may use: the GPUs, or where there is none the CPU.

    Attributes:
        kind: GPU or CPU.
        names: TensorFlow's names of them, such as GPU:0.
        compute_capability: The lowest of the GPUs', (major, minor); None for a CPU or where it isn't known.
        bfloat16: Whether a CPU has instructions that multiply bfloat16 matrices.
    """

    kind: str
    names: tuple[str, ...]
    compute_capability: tuple[int, int] | None = None
    bfloat16: bool = False

    @classmethod
    def visible(cls, strategy: tf.distribute.Strategy | None = None) -> "Devices":
        """The devices of this process. Starts TensorFlow's runtime.

        Args:
            strategy: By which it trains with others, whose devices TensorFlow lists as well; None where it is alone.
        """
        gpus = tf.config.list_physical_devices("GPU")
        capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
        kind = "GPU" if gpus else "CPU"
        if strategy is None:
            full_names = [device.name for device in tf.config.list_logical_devices(kind)]
        else:
            full_names = list(strategy.extended.worker_devices)
        names = tuple(name.rpartition("/device:")[2] for name in full_names)
        if not gpus:
            return cls(kind, names, bfloat16=cpu_multiplies_bfloat16())
        return cls(kind, names, None if None in capabilities else min(capabilities))

    @property
    def multiply_bfloat16(self) -> bool:
        """Whether they have hardware for products of bfloat16 matrices."""
        return self.bfloat16 or (self.compute_capability or (0, 0)) >= BFLOAT16_CAPABILITY

    def __str__(self) -> str:
        ability = " with bfloat16 instructions" if self.bfloat16 else ""
        if self.compute_capability is not None:
            ability = " of compute capability {}.{}".format(*self.compute_capability)
        return f"{len(self.names)} {self.kind}{'' if len(self.names) == 1 else 's'}{ability}"


def cpu_multiplies_bfloat16() -> bool:
    """Whether the processor has the instructions, and TensorFlow the library that uses them (oneDNN, unless off)."""
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") in ("0", "false"):
        return False
    try:
        information = CPU_INFORMATION.read_text()
    except OSError:  # not Linux
        return False
    return re.search(r"^flags\s*:.*\b(avx512_bf16|amx_bf16)\b", information, re.MULTILINE) is not None


def describe_devices() -> dict[str, Any]:
    """The cores that this process may use, and the GPUs' names."""
    return {
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ],
    }
