"""How requests are batched: the settings of TensorFlow Serving's batching parameters file. Imports no TensorFlow."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError
from serving.server import text_protos


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """Settings, with the defaults of TensorFlow Serving's `--enable_batching`.

    Attributes:
        max_batch_size: The most rows of one request, and of a batch unless `max_execution_batch_size` is given.
        batch_timeout_micros: How long a batch waits for more requests while a thread is free, in µs.
        max_enqueued_batches: Batches that may wait, for each signature; further requests get 503.
        num_batch_threads: Batches that run at once.
        thread_pool_name: The threads' name in metrics.
        allowed_batch_sizes: Sizes that batches are padded up to; none for any size. Rising, the last one being
            the largest batch.
        pad_variable_length_inputs: Whether rows of different lengths are padded to one, with their first element.
        enable_large_batch_splitting: Whether a request's rows may go in several batches.
        max_execution_batch_size: Rows of a batch where requests are split; None for `max_batch_size`.
        is_strict: Whether a request that can't be batched is refused, as TensorFlow Serving refuses it; otherwise it
            is answered alone, and so is every request of a batch that failed.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "model_server_batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None
    is_strict: bool = True

    def __post_init__(self) -> None:
        """Refuses impossible settings.

        Raises:
            ConfigError: Naming the key.
        """
        for name, least in (
            ("max_batch_size", 1),
            ("batch_timeout_micros", 0),
            ("max_enqueued_batches", 1),
            ("num_batch_threads", 1),
            ("max_execution_batch_size", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}", received=str(value), remedy=f"raise {name}")
        if not self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            raise ConfigError(
                "max_execution_batch_size must come with enable_large_batch_splitting: it is for split requests",
                received="it alone",
                remedy="set enable_large_batch_splitting { value: true }, or leave max_execution_batch_size out",
            )
        if self.largest_batch > self.max_batch_size:
            raise ConfigError(
                "max_execution_batch_size must be at most max_batch_size",
                received=f"{self.max_execution_batch_size} and {self.max_batch_size}",
                remedy="lower max_execution_batch_size",
            )
        sizes = self.allowed_batch_sizes
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != self.largest_batch):
            raise ConfigError(
                "allowed_batch_sizes must rise, and the last one must be the largest batch",
                received=f"{list(sizes)}, the largest batch being {self.largest_batch}",
                remedy=f"end the list with {self.largest_batch}",
            )

    @property
    def largest_batch(self) -> int:
        """Rows that a batch may have."""
        return self.max_batch_size if self.max_execution_batch_size is None else self.max_execution_batch_size

    def padded_size(self, rows: int) -> int:
        """The smallest allowed size that has room for the rows."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED = BatchingParameters(
    max_batch_size=64,
    max_enqueued_batches=1000,
    # Each batch uses all cores by itself; a second thread, so that one slow call doesn't hold up everybody.
    num_batch_threads=2,
    thread_pool_name="batch_threads",
    is_strict=False,
)
"""The embedded server's own settings: faster under load, and no request is refused or fails because of another."""


def read(path: Path, option: str = "--batching-parameters-file") -> BatchingParameters:
    """The settings of a batching parameters file.

    Raises:
        ConfigError: If it can't be read, or a setting is impossible.
    """
    message = text_protos.read(option, path, text_protos.CLASSES["BatchingParameters"]())
    settings: dict[str, Any] = {"thread_pool_name": "batch_threads"}
    for field, value in message.ListFields():
        is_wrapped = field.message_type is not None
        settings[field.name] = value.value if is_wrapped else tuple(value) if field.name.endswith("sizes") else value
    return BatchingParameters(**settings)
