"""What a training step of each shape multiplies, and the least time that this machine takes for it."""

import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

VOCABULARY, BATCH_SIZE, BLOCK_SIZE, PROBABILITY, PREDICTIONS = 50_265, 16, 128, 0.15, 20
TOKENS = BATCH_SIZE * BLOCK_SIZE
SHAPES: dict[str, dict[str, Any]] = {
    "a": {"model_type": "roberta", "layers": 4, "hidden": 256, "intermediate": 1024, "steps": 9},
    "b": {"model_type": "roberta", "layers": 6, "hidden": 768, "intermediate": 3072, "steps": 4},
    "m": {"model_type": "modernbert", "layers": 4, "hidden": 256, "intermediate": 688, "steps": 9},
}
"""Sizes of the models, and the steps of an epoch. ModernBERT's gate is as wide as makes its products those of a."""
HEAD_SIZE, POSITIONS = 64, 514
PEAK_SIDE = 4096
AT_ONCE_ON_GPU = 32
"""Products that a GPU is given before it is waited for: one alone takes it less time than the asking."""


def products(shape: str) -> Iterator[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """The matrix products of a step's layers: how many, and the shapes of the left and the right matrix.

    Backward, each of the two is multiplied with the product's gradient. The head's weights are the embedding, whose
    rows are tokens: its forward product is the one that here counts as backward.
    """
    layers, hidden, intermediate = (SHAPES[shape][size] for size in ("layers", "hidden", "intermediate"))
    heads = BATCH_SIZE * hidden // HEAD_SIZE
    yield 4 * layers, (TOKENS, hidden), (hidden, hidden)
    yield layers, (TOKENS, hidden), (hidden, projections(shape) * intermediate)
    yield layers, (TOKENS, intermediate), (intermediate, hidden)
    yield layers, (heads, BLOCK_SIZE, HEAD_SIZE), (heads, HEAD_SIZE, BLOCK_SIZE)
    yield layers, (heads, BLOCK_SIZE, BLOCK_SIZE), (heads, BLOCK_SIZE, HEAD_SIZE)
    yield 1, (BATCH_SIZE * PREDICTIONS, hidden), (hidden, hidden)
    yield 1, (BATCH_SIZE * PREDICTIONS, VOCABULARY), (VOCABULARY, hidden)


def projections(shape: str) -> int:
    """How many times the intermediate size a layer's first product is wide: ModernBERT has a gate beside it."""
    return 2 if SHAPES[shape]["model_type"] == "modernbert" else 1


def step_flops(shape: str) -> float:
    """Floating-point operations of a step's products, forward and twice that backward."""
    total = 0
    for count, (*batch, rows, inner), (*_, columns) in products(shape):
        total += count * 2 * rows * inner * columns * (batch[0] if batch else 1)
    return 3.0 * total


def at_peak(shape: str, dtype: str) -> dict[str, Any]:
    """Seconds of a step at the rate of a large square product."""
    import tensorflow as tf

    side = (PEAK_SIDE, PEAK_SIDE)
    memory = least_mib(shape)
    left, right = random_matrix(side, dtype), random_matrix(side, dtype)
    share = step_flops(shape) / (2 * PEAK_SIDE**3)
    at_once = AT_ONCE_ON_GPU if tf.config.list_logical_devices("GPU") else 1
    seconds, core_seconds = min(timed(lambda: tf.matmul(left, right), 10, at_once))
    return facts(seconds * share, core_seconds * share, memory)


def at_own_shapes(shape: str, dtype: str) -> dict[str, Any]:
    """Seconds of a step's products one by one, each at its own shape: forward, and by both its sides backward."""
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return {"missing": "way to time them one by one: a GPU takes less time for most than to be asked"}
    seconds, core_seconds = 0.0, 0.0
    for count, left_shape, right_shape in products(shape):
        left, right = random_matrix(left_shape, dtype), random_matrix(right_shape, dtype)
        upstream = random_matrix((*left_shape[:-1], right_shape[-1]), dtype)
        for product in (
            lambda left=left, right=right: tf.matmul(left, right),
            lambda upstream=upstream, right=right: tf.matmul(upstream, right, transpose_b=True),
            lambda left=left, upstream=upstream: tf.matmul(left, upstream, transpose_a=True),
        ):
            times = timed(product, 21)
            seconds += count * statistics.median(wall for wall, _ in times)
            core_seconds += count * statistics.median(core for _, core in times)
    return facts(seconds, core_seconds)


def random_matrix(shape: tuple[int, ...], dtype: str) -> Any:
    """Normally distributed."""
    import tensorflow as tf

    return tf.cast(tf.random.normal(shape), dtype)


def timed(product: Callable[[], Any], repetitions: int, at_once: int = 1) -> list[tuple[float, float]]:
    """Seconds and core seconds of a product in each repetition, of `at_once`, but the first, which makes the graph."""
    import tensorflow as tf

    # One element tells that all are there, and copies nothing.
    call = tf.function(lambda: tf.reshape(product(), [-1])[0])
    times = []
    for _ in range(repetitions + 1):
        start, core_start = time.perf_counter(), time.process_time()
        for _ in range(at_once):
            last = call()
        last.numpy()
        seconds, core_seconds = time.perf_counter() - start, time.process_time() - core_start
        times.append((seconds / at_once, core_seconds / at_once))
    return times[1:]


def least_mib(shape: str) -> int:
    """The memory that training with AdamW takes at the least, in MiB: libraries, weights, gradients and two moments.

    The libraries' is the resident set of this process once it has imported what TensorFlow's contestants import.
    """
    for library in ("tensorflow", "transformers.models.roberta.modeling_tf_roberta", "datasets"):
        importlib.import_module(library)
    return memory_mib("VmRSS") + round(4 * 4 * parameters(shape) / 2**20)


def parameters(shape: str) -> int:
    """Weights of the model, its head's dense layer among them; biases and norms, a thousandth, are left out."""
    layers, hidden, intermediate = (SHAPES[shape][size] for size in ("layers", "hidden", "intermediate"))
    a_layer = 4 * hidden**2 + (projections(shape) + 1) * intermediate * hidden
    return (VOCABULARY + POSITIONS) * hidden + layers * a_layer + hidden**2


def memory_mib(name: str) -> int:
    """A figure of this process' memory: VmRSS, what is resident, or VmHWM, the most that was, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def gpu_peak_mib() -> int:
    """The most memory that tensors of this process took on its first GPU, in MiB, by its library; 0 without a GPU."""
    peak = 0
    if "torch" in sys.modules and (torch := sys.modules["torch"]).cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    elif "tensorflow" in sys.modules and (tf := sys.modules["tensorflow"]).config.list_logical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return peak // 2**20


def facts(seconds: float, core_seconds: float, peak_mib: int = 0) -> dict[str, Any]:
    """As a contestant's."""
    return {
        "seconds": [seconds],
        "core_seconds": [core_seconds],
        "epoch_seconds_a_step": seconds,
        "peak_mib": peak_mib,
        "gpu_peak_mib": 0,
    }


def in_bfloat16(measure: Callable[[str, str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """A floor where training multiplies in bfloat16, as `auto` has it where the hardware does."""

    def measured(shape: str) -> dict[str, Any]:
        from components.training.devices import Devices

        devices = Devices.visible()
        if devices.bfloat16 or (devices.compute_capability or (0, 0)) >= (8, 0):
            return measure(shape, "bfloat16")
        return {"missing": f"bfloat16 hardware ({devices})"}

    return measured


FLOORS: dict[str, Callable[[str], dict[str, Any]]] = {
    "products": lambda shape: at_own_shapes(shape, "float32"),
    "floor": lambda shape: at_peak(shape, "float32"),
    "products_bf16": in_bfloat16(at_own_shapes),
    "floor_bf16": in_bfloat16(at_peak),
}
