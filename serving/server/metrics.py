"""What a server counts and measures of itself, under TensorFlow Serving's names, in Prometheus' text format."""

import asyncio
import bisect
import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator

from serving.server.status import Code, StatusError

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain"


# Compared by identity: it is the key of every count, and its bounds would be hashed each time.
@dataclasses.dataclass(frozen=True, eq=False)
class Metric:
    """Something counted, or a distribution.

    Attributes:
        name: TensorFlow Serving's.
        help: What it is.
        labels: The names of the labels by which its series differ.
        bounds: The buckets' upper bounds, rising; none for a counter.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Bounds that grow by a factor; with the bucket for all that is larger there are `count` + 1 buckets."""
    return tuple(first * factor**power for power in range(count))


# 10 µs to about 25 minutes, as TensorFlow Serving has them.
LATENCIES = exponential(10, 1.8, 33)
ROWS = exponential(1, 2, 15)

REQUEST_COUNT = Metric(":tensorflow:serving:request_count", "The total number of requests.", ("model_name", "status"))
REQUEST_LATENCY = Metric(
    ":tensorflow:serving:request_latency",
    "Distribution of wall time (in microseconds) for a whole request.",
    ("model_name", "API", "entrypoint"),
    LATENCIES,
)
RUNTIME_LATENCY = Metric(
    ":tensorflow:serving:runtime_latency",
    "Distribution of wall time (in microseconds) for the graph, waiting for a batch included.",
    ("model_name", "API", "runtime"),
    LATENCIES,
)
QUEUING_LATENCY = Metric(
    ":tensorflow:serving:batching_session:queuing_latency",
    "Distribution of wall time (in microseconds) that a request waited for its batch.",
    ("thread_pool_name",),
    exponential(100, 1.2, 52),
)
INPUT_BATCH_SIZE = Metric(
    ":tensorflow:serving:batching_session:input_batch_size",
    "Distribution of the rows of requests.",
    ("thread_pool_name",),
    ROWS,
)
PROCESSED_BATCH_SIZE = Metric(
    ":tensorflow:serving:batching_session:processed_batch_size",
    "Distribution of the rows of batches, padding included.",
    ("thread_pool_name",),
    ROWS,
)
PADDING_SIZE = Metric(
    ":tensorflow:serving:batching_session:padding_size",
    "Distribution of the rows that pad a batch.",
    ("execution_batch_size", "thread_pool_name"),
    ROWS,
)
WARM_UP_LATENCY = Metric(
    ":tensorflow:serving:model_warmup_latency",
    "Distribution of wall time (in microseconds) for warming up a version.",
    ("model_path", "status"),
    LATENCIES,
)
LOAD_ATTEMPT_COUNT = Metric(
    ":tensorflow:cc:saved_model:load_attempt_count",
    "The number of times a version was loaded.",
    ("model_path", "status"),
)

LOAD_LATENCY = Metric(
    ":tensorflow:cc:saved_model:load_latency",
    "The wall time (in microseconds) that loading took, in all.",
    ("model_path",),
)


class Metrics:
    """The numbers of one server; safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Metric, dict[tuple[str, ...], int]] = {}
        self._distributions: dict[Metric, dict[tuple[str, ...], _Distribution]] = {}

    def count(self, metric: Metric, *labels: str, by: int = 1) -> None:
        """Counts one, or more."""
        with self._lock:
            series = self._counts.setdefault(metric, {})
            series[labels] = series.get(labels, 0) + by

    @contextlib.contextmanager
    def lasted(self, metric: Metric, *labels: str) -> Iterator[None]:
        """Adds how long the context lasted, in µs, to a count, unless it raises."""
        began = time.perf_counter()
        yield
        self.count(metric, *labels, by=round((time.perf_counter() - began) * 1e6))

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Adds a value to a distribution."""
        with self._lock:
            series = self._distributions.setdefault(metric, {})
            if labels not in series:
                series[labels] = _Distribution([0] * (len(metric.bounds) + 1))
            series[labels].add(metric, value)

    @contextlib.contextmanager
    def timed(self, metric: Metric, *labels: str) -> Iterator[None]:
        """Adds how long the context lasted, in µs, unless it raises."""
        began = time.perf_counter()
        yield
        self.observe(metric, (time.perf_counter() - began) * 1e6, *labels)

    @contextlib.contextmanager
    def request(self, model_name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts a request that is answered in the context by its status, and times it if that is OK.

        Args:
            model_name: One that is served, or empty: names that clients make up would fill the memory.
            api: `predict`, `classify` or `regress`; capitalized for gRPC, as TensorFlow Serving has it.
            entrypoint: `REST` or `GRPC`.
        """
        code = Code.UNKNOWN
        try:
            with self.timed(REQUEST_LATENCY, model_name, api, entrypoint):
                yield
            code = Code.OK
        except StatusError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = Code.CANCELLED
            raise
        finally:
            self.count(REQUEST_COUNT, model_name, code.name)

    def page(self) -> str:
        """All of it in Prometheus' text format, version 0.0.4."""
        lines = []
        with self._lock:
            for metric, counts in self._counts.items():
                lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} counter"]
                lines += [f"{metric.name}{braces(metric.labels, labels)} {count}" for labels, count in counts.items()]
            for metric, distributions in self._distributions.items():
                lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} histogram"]
                for labels, distribution in distributions.items():
                    lines += distribution.lines(metric, labels)
        return "\n".join([*lines, ""])


class _Distribution:
    """Counts by bucket, and the sum of all values."""

    def __init__(self, counts: list[int]) -> None:
        self._counts = counts
        self._sum = 0.0

    def add(self, metric: Metric, value: float) -> None:
        """Adds a value; a bucket holds values up to its bound, the bound included."""
        self._counts[bisect.bisect_left(metric.bounds, value)] += 1
        self._sum += value

    def lines(self, metric: Metric, labels: tuple[str, ...]) -> list[str]:
        """The buckets, which Prometheus wants cumulated, the sum and the count."""
        lines, total = [], 0
        for bound, count in zip([*map("{:.6g}".format, metric.bounds), "+Inf"], self._counts, strict=True):
            total += count
            lines.append(f"{metric.name}_bucket{braces((*metric.labels, 'le'), (*labels, bound))} {total}")
        shown = braces(metric.labels, labels)
        return [*lines, f"{metric.name}_sum{shown} {self._sum:.10g}", f"{metric.name}_count{shown} {total}"]


def braces(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    """Labels as Prometheus reads them."""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def escape(value: str) -> str:
    """A label's value between quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
