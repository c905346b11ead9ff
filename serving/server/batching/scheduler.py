"""Collects tasks into batches and works on them in a few threads. Knows nothing of tensors."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from serving.server.batching.parameters import BatchingParameters, read
from serving.server.metrics import Metrics
from serving.server.status import Code, StatusError, invalid

VERSION_FILE = "batching_params.pbtxt"
"""Where TensorFlow Serving looks for a version's own parameters, with --enable_per_model_batching_parameters."""


class Task(Protocol):
    """Some rows to be worked on.

    Attributes:
        rows: How many.
        result: Set by whoever works on them.
    """

    rows: int
    result: "Future[Any]"

    def split(self, rows: int) -> tuple[Self, Self]:
        """The first rows, and the rest."""


AnyTask = TypeVar("AnyTask", bound=Task)
Work = Callable[[list[Any]], None]


class BatchScheduler:
    """Tasks of one key share batches; a batch goes as soon as a thread is free and it is full or has waited enough.

    With a timeout of 0 a task that comes while a thread is free goes alone and at once, and those that come while
    all threads are busy go together: no latency is added when there is no load. Threads take the batch that was
    opened first, whatever its key, so that no key waits for another.

    Args:
        parameters: Threads, and the sizes and times of tasks that come without their own.
        meter: Records sizes and times.
        reads_versions: Whether a model's version has sizes and times of its own, in a file beside it, and isn't
            batched without.
    """

    def __init__(
        self, parameters: BatchingParameters, meter: Metrics | None = None, reads_versions: bool = False
    ) -> None:
        self.parameters = parameters
        self.meter = meter or Metrics()
        self._reads_versions = reads_versions
        self._queues: dict[Hashable, _Queue] = {}
        self._changed = threading.Condition()
        self._is_closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{parameters.thread_pool_name} {number}", daemon=True)
            for number in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def parameters_of(self, version: Path) -> BatchingParameters | None:
        """The sizes and times of a model's version; None where it isn't to be batched.

        Raises:
            ConfigError: If its file is invalid.
        """
        if not self._reads_versions:
            return self.parameters
        path = version / VERSION_FILE
        return read(path, "the version's batching parameters") if path.exists() else None

    def submit(
        self, key: Hashable, task: AnyTask, work: Work, parameters: BatchingParameters | None = None
    ) -> list[AnyTask]:
        """Queues a task, in several parts if it is large and splitting is allowed.

        Args:
            key: Tasks of equal keys share batches.
            task: At least one row.
            work: Is called in a thread with the tasks of a batch, and sets their results.
            parameters: Sizes and times, always the same for a key; the scheduler's if None.

        Returns:
            The parts, whose results make up the task's.

        Raises:
            StatusError: INVALID_ARGUMENT for too many rows, UNAVAILABLE if the queue is full.
        """
        parameters = parameters or self.parameters
        limit = parameters.max_batch_size
        if task.rows > limit:
            raise invalid(f"Task size {task.rows} is larger than maximum input batch size {limit}")
        with self._changed:
            if self._is_closing:
                raise StatusError(Code.UNAVAILABLE, "The server is shutting down")
            queue = self._queues.get(key) or _Queue(parameters)
            queue.refuse_if_full(task.rows)
            self._queues[key] = queue
            parts = []
            while parameters.enable_large_batch_splitting and task.rows > (room := queue.room):
                first, task = task.split(room)
                parts.append(self._append(queue, first, work))
            parts.append(self._append(queue, task, work))
            return parts

    def withdraw(self, key: Hashable, task: Task) -> bool:
        """Takes a task back, as `submit` returned it, unless it is worked on already.

        Returns:
            Whether it was taken back: then nobody sets its result.
        """
        with self._changed:
            queue = self._queues.get(key)
            for batch in queue.batches if queue else []:
                if task in batch.tasks:
                    batch.tasks.remove(task)
                    batch.rows -= task.rows
                    if queue and not batch.tasks:
                        queue.batches.remove(batch)
                    if queue and not queue.batches:
                        del self._queues[key]
                    return True
            return False

    def close(self) -> None:
        """Works off what is queued, then ends the threads."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _append(self, queue: "_Queue", task: AnyTask, work: Work) -> AnyTask:
        """Puts a task into the last batch, or into a new one."""
        size, wait = queue.parameters.largest_batch, queue.parameters.batch_timeout_micros
        if not queue.batches or queue.batches[-1].rows + task.rows > size:
            queue.batches.append(_Batch(work, time.monotonic() + wait / 1e6))
            self._changed.notify()
        batch = queue.batches[-1]
        batch.tasks.append(task)
        batch.rows += task.rows
        if batch.rows == size and wait:
            self._changed.notify()
        return task

    def _work(self) -> None:
        """What a thread does."""
        while (batch := self._next()) is not None:
            try:
                batch.work(batch.tasks)
            except BaseException as error:  # whoever waits for a result must get one
                for task in batch.tasks:
                    if not task.result.done():
                        task.result.set_exception(error)
            # Else this frame would keep the last requests' tensors until the next batch comes.
            del batch

    def _next(self) -> "_Batch | None":
        """Waits for a batch to work on; None when there will be none."""
        with self._changed:
            while True:
                now = time.monotonic()
                ready = [key for key, queue in self._queues.items() if self._is_closing or queue.is_ready(now)]
                if ready:
                    key = min(ready, key=lambda key: self._queues[key].batches[0].due)
                    batch = self._queues[key].batches.pop(0)
                    if not self._queues[key].batches:
                        del self._queues[key]
                    return batch
                if self._is_closing:
                    return None
                due = min((queue.batches[0].due for queue in self._queues.values()), default=None)
                self._changed.wait(None if due is None else due - now)


class _Queue:
    """The batches of one key, and the sizes and times that hold for them."""

    def __init__(self, parameters: BatchingParameters) -> None:
        self.parameters = parameters
        self.batches: list[_Batch] = []

    @property
    def room(self) -> int:
        """Rows for which the last batch has room; a whole batch's if there is none or it is full."""
        return self._open_room or self.parameters.largest_batch

    @property
    def _open_room(self) -> int:
        return self.parameters.largest_batch - self.batches[-1].rows if self.batches else 0

    def refuse_if_full(self, rows: int) -> None:
        """Refuses a task for which there are too many batches.

        Raises:
            StatusError: UNAVAILABLE.
        """
        parameters = self.parameters
        further = int(rows > self._open_room)
        if parameters.enable_large_batch_splitting:
            further = max(0, -(-(rows - self._open_room) // parameters.largest_batch))
        if len(self.batches) + further > parameters.max_enqueued_batches:
            raise StatusError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{len(self.batches)} batches wait, and max_enqueued_batches is {parameters.max_enqueued_batches}; "
                "try again later",
            )

    def is_ready(self, now: float) -> bool:
        """Whether the first batch need not wait for more."""
        first = self.batches[0]
        return len(self.batches) > 1 or first.rows >= self.parameters.largest_batch or first.due <= now


class _Batch:
    """Tasks that go together."""

    def __init__(self, work: Work, due: float) -> None:
        self.work = work
        self.due = due
        self.tasks: list[Task] = []
        self.rows = 0
