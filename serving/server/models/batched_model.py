"""A loaded version whose calls from several requests go through the graph together."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np

from serving.server import metrics
from serving.server.batching.parameters import BatchingParameters
from serving.server.batching.rows import Tensors, count_rows, has_rows, join_outputs, magnitude, merge, split_outputs
from serving.server.batching.scheduler import BatchScheduler
from serving.server.limits import calls
from serving.server.limits.answer_size import Part, memory_bytes
from serving.server.limits.threads import ended
from serving.server.models.saved_model import SavedModel
from serving.server.signature import Signature
from serving.server.status import Code, StatusError

LARGEST_ROW_BYTES = 1 << 16
LARGEST_BATCH_BYTES = 1 << 26
"""The most that answers may take to share a batch; requests for larger ones run alone and without padding."""
SMALL_ANSWER = 8
SMALL_INPUT = 64
"""Sizes up to which padding costs little."""

Run = Callable[[Tensors], dict[str, np.ndarray]]


class BatchedModel:
    """Has the methods of a `SavedModel` that answer requests, and batches its calls. Belongs to one event loop.

    Requests that ask the same outputs of the same signature are joined along dimension 0. Inputs of other inner
    shapes don't fit together: TensorFlow Serving then refuses the whole batch, and so do strict parameters.

    Args:
        model: What is called.
        scheduler: Shared by all models of a server.
        timeout_seconds: How long a request may wait for a thread.
        parameters: Sizes and times; the scheduler's if None.
    """

    def __init__(
        self,
        model: SavedModel,
        scheduler: BatchScheduler,
        timeout_seconds: float,
        parameters: BatchingParameters | None = None,
    ) -> None:
        self._model = model
        self._scheduler = scheduler
        self._parameters = parameters or scheduler.parameters
        self._timeout_seconds = timeout_seconds
        self.directory = model.directory
        self.signatures = model.signatures
        self.sizes = model.sizes
        self.signature_definitions = model.signature_definitions
        self.signature_definition_map = model.signature_definition_map

    async def call(
        self,
        signature_name: str,
        tensors: Tensors,
        output_names: tuple[str, ...] | None = None,
        expected: list[Part] | None = None,
    ) -> dict[str, np.ndarray]:
        """Calls a signature, together with other requests.

        Args:
            signature_name: One of `signatures`.
            tensors: A value for every input, of its type; strings as object arrays of bytes.
            output_names: The outputs to compute; all if None.
            expected: What `sizes.expected` returned for this call, if it was called already.

        Returns:
            Tensors by output name.

        Raises:
            StatusError: As the graph says; INVALID_ARGUMENT for what can't be batched, if parameters are strict;
                UNAVAILABLE if the queue is full, RESOURCE_EXHAUSTED after waiting too long in it.
        """
        parameters = self._parameters
        signature = self.signatures[signature_name]
        rows, problem = count_rows(tensors, parameters.max_batch_size)
        is_batchable = problem is None and has_rows(signature)
        key: Any = (self, signature_name, output_names)
        if parameters.is_strict:
            if problem is not None and rows is None:
                raise problem
            # TensorFlow Serving never schedules a request of 0 rows, which then hangs: nothing to copy.
            is_batchable = rows != 0
        else:
            key = (*key, tuple(tensor.shape[1:] for tensor in tensors.values()))
        if not is_batchable:
            # It fills a batch of its own.
            rows, key = parameters.largest_batch, object()
        elif rows is not None and rows <= parameters.max_batch_size:
            parts = expected or self.sizes.expected(signature_name, tensors, output_names)
            key = (*key, self._likeness(signature_name, tensors, parts))
            if memory_bytes(parts) > rows * min(LARGEST_ROW_BYTES, LARGEST_BATCH_BYTES // parameters.largest_batch):
                # It runs alone, and isn't padded to an allowed size.
                key, parameters = object(), dataclasses.replace(parameters, allowed_batch_sizes=())
        deadline = time.monotonic() + self._timeout_seconds
        if (call := calls.current()) is not None and call.deadline is not None:
            deadline = min(deadline, call.deadline)
        task = _Rows(dict(tensors), rows or 0, deadline, call)
        run = partial(self._model.run, signature_name, output_names=output_names)
        work = partial(self._work, run, signature, parameters, is_batchable)
        tasks = self._scheduler.submit(key, task, work, parameters)
        try:
            if len(tasks) == 1:
                return await asyncio.shield(tasks[0].delivered)
            return join_outputs(await asyncio.gather(*(asyncio.shield(part.delivered) for part in tasks)))
        except asyncio.CancelledError:
            for part in tasks:
                if not self._scheduler.withdraw(key, part):
                    await ended(part.delivered)
            raise
        finally:
            # Else an error and this frame would refer to each other, and keep the request's memory for long.
            del task, tasks

    def _likeness(self, signature_name: str, tensors: Tensors, parts: list[Part]) -> Any:
        """Part of the key by which requests share a batch, so that none is padded to many times its size.

        Places for masks and candidates are a text batch's largest; inputs are padded where the parameters say so.
        """
        if self.sizes.is_text(signature_name):
            return tuple(magnitude(size, SMALL_ANSWER) for part in parts for size in part.shape[1:])
        if self._parameters.pad_variable_length_inputs:
            return tuple(magnitude(size, SMALL_INPUT) for tensor in tensors.values() for size in tensor.shape[1:])
        return ()

    def close(self) -> None:
        """Frees the session. Nothing may run any more."""
        self._model.close()

    def _work(
        self,
        run: Run,
        signature: Signature,
        parameters: BatchingParameters,
        is_batchable: bool,
        tasks: "list[_Rows]",
    ) -> None:
        """Answers the tasks of a batch, in one of the scheduler's threads, and wakes the event loop once for all."""
        try:
            self._answer(run, signature, parameters, is_batchable, tasks)
        except BaseException as error:  # whoever waits for a result must get one
            for task in tasks:
                if not task.result.done():
                    task.result.set_exception(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            tasks[0].delivered.get_loop().call_soon_threadsafe(deliver, tasks)

    def _answer(
        self,
        run: Run,
        signature: Signature,
        parameters: BatchingParameters,
        is_batchable: bool,
        tasks: "list[_Rows]",
    ) -> None:
        """Sets the results of tasks."""
        now = time.monotonic()
        tasks = [task for task in tasks if not task.is_late(now)]
        if not tasks:
            return
        if is_batchable:
            self._note(tasks, parameters, now)
        try:
            if not is_batchable or (len(tasks) == 1 and not parameters.is_strict):
                results = [task.alone(run) for task in tasks]
            else:
                sizes = [task.rows for task in tasks]
                merged = merge([task.tensors for task in tasks], signature, parameters)
                results = split_outputs(run(merged), sizes, len(next(iter(merged.values()))))
        except StatusError as error:
            if len(tasks) == 1 or parameters.is_strict:
                for task in tasks:
                    task.result.set_exception(error.with_traceback(None))
                return
            # One of them may be at fault, so each runs by itself.
            for task in tasks:
                self._answer(run, signature, parameters, False, [task])
            return
        for task, result in zip(tasks, results, strict=True):
            task.result.set_result(result)

    def _note(self, tasks: "list[_Rows]", parameters: BatchingParameters, now: float) -> None:
        """Records a batch's sizes, and how long its requests waited."""
        pool, meter = self._scheduler.parameters.thread_pool_name, self._scheduler.meter
        rows = sum(task.rows for task in tasks)
        padded = parameters.padded_size(rows)
        for task in tasks:
            waited = (now - task.arrived) * 1e6
            meter.observe(metrics.QUEUING_LATENCY, waited, pool)
            meter.observe(metrics.INPUT_BATCH_SIZE, task.rows, pool)
        meter.observe(metrics.PROCESSED_BATCH_SIZE, padded, pool)
        meter.observe(metrics.PADDING_SIZE, padded - rows, str(padded), pool)


class _Rows:
    """A request's rows, or some of them.

    Attributes:
        result: Their outputs or an error, set in a thread.
        delivered: The same for the event loop, set by `deliver`.
    """

    def __init__(
        self, tensors: dict[str, np.ndarray], rows: int, deadline: float, call: calls.Call | None = None
    ) -> None:
        self.tensors = tensors
        self.rows = rows
        self.deadline = deadline
        self.call = call
        self.arrived = time.monotonic()
        self.result: Future[dict[str, np.ndarray]] = Future()
        self.delivered: asyncio.Future[dict[str, np.ndarray]] = asyncio.get_running_loop().create_future()

    def split(self, rows: int) -> "tuple[_Rows, _Rows]":
        """The first rows, and the rest."""
        first = {name: tensor[:rows] for name, tensor in self.tensors.items()}
        rest = {name: tensor[rows:] for name, tensor in self.tensors.items()}
        call = self.call
        return _Rows(first, rows, self.deadline, call), _Rows(rest, self.rows - rows, self.deadline, call)

    def alone(self, run: Run) -> dict[str, np.ndarray]:
        """The outputs of these rows, which are worked on no further once nobody waits for them."""
        if self.call is None:
            return run(self.tensors)
        with calls.answering(self.call):
            return run(self.tensors)

    def is_late(self, now: float) -> bool:
        """Whether it waited too long, which is then its result."""
        if now < self.deadline:
            return False
        message = "Run() timeout exceeded while waiting in batching queue"
        self.result.set_exception(StatusError(Code.RESOURCE_EXHAUSTED, message))
        return True


def deliver(tasks: list[_Rows]) -> None:
    """Hands results to the coroutines that wait for them, in their event loop."""
    for task in tasks:
        if task.delivered.done():  # canceled with its loop
            continue
        error = task.result.exception()
        if error is None:
            task.delivered.set_result(task.result.result())
        else:
            task.delivered.set_exception(error)
