"""Answers requests of both protocols, and limits how many are answered at once.

A request is a coroutine: a thread for each would cost more than a small model does. Only graphs, and messages that
take long to read or write, are worked on in threads: those of the event loop's default executor.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from serving.server.limits.calls import Call, Room, answering
from serving.server.limits.threads import in_thread
from serving.server.status import Code, StatusError

Result = TypeVar("Result")
LARGE_BYTES = 1 << 16
LARGE_VALUES = 1 << 11


class Workers:
    """Answers requests up to a number, and refuses those beyond it. Belongs to one event loop.

    Args:
        threads: How many graphs and large messages are worked on at once.
        pending_requests: How many requests may be worked on or wait at once.
        request_bytes: The memory for all large requests together.
        answer_bytes: The memory for all large answers together.
    """

    def __init__(
        self, threads: int, pending_requests: int, request_bytes: int = 1 << 28, answer_bytes: int = 1 << 29
    ) -> None:
        self._rooms = Room(request_bytes), Room(answer_bytes)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._limit = pending_requests
        self._pending: set[asyncio.Task[Any]] = set()
        # Those that have no place: questions about the state, and what was canceled while a thread works on it.
        self._others: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Has the running event loop use the threads."""
        asyncio.get_running_loop().set_default_executor(self._pool)

    def refuse_if_full(self) -> None:
        """Refuses a request that is one too many, before its body is read.

        Raises:
            StatusError: UNAVAILABLE if as many as may be are pending.
        """
        if len(self._pending) >= self._limit:
            raise StatusError(
                Code.UNAVAILABLE,
                f"{len(self._pending)} requests are being answered or wait, which is the limit; try again later",
            )

    def begin(self, seconds: float | None) -> Call:
        """A call that has just come and may take this many seconds; None for any time."""
        return Call(seconds, *self._rooms)

    async def do(
        self,
        answer: Callable[[], Coroutine[Any, Any, Result]],
        call: Call | None = None,
        *,
        is_limited: bool = True,
    ) -> Result:
        """Answers one request.

        If it is canceled, because its client left or its time is over, its place is free at once. What waits is
        dropped, and what a thread works on comes to its end: until then its model must not be closed.

        Args:
            answer: Makes the coroutine that answers.
            call: What `serving.server.limits.calls.current` returns meanwhile; a call without a deadline if None.
            is_limited: Whether it may be refused, and has one of the places. Questions about the server's state, which
                take no time, have none: those who watch over a server must not take one that is busy for dead.

        Raises:
            StatusError: UNAVAILABLE if as many as may be are pending.
        """
        if is_limited:
            self.refuse_if_full()
        call = call or self.begin(None)
        with answering(call):
            call.task = task = asyncio.create_task(answer())
        (self._pending if is_limited else self._others).add(task)
        task.add_done_callback(self._finish)
        try:
            await asyncio.wait((task,))
            return task.result()
        except asyncio.CancelledError:
            if not task.done():
                call.is_left = True
                self._pending.discard(task)
                self._others.add(task)
                task.cancel()
            raise
        finally:
            # Else its error and this frame would refer to each other, and keep the request's memory for long.
            del task

    def _finish(self, task: "asyncio.Task[Any]") -> None:
        self._pending.discard(task)
        self._others.discard(task)
        if not task.cancelled():
            task.exception()  # nobody waits for it any more if its client left

    async def stop(self) -> None:
        """Lets what is worked on end; what still waits for a thread is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if under_way := self._pending | self._others:
            await asyncio.wait(under_way)
        self._pool.shutdown(wait=True)


async def convert(is_large: bool, work: Callable[..., Result], *arguments: Any) -> Result:
    """Reads or writes a message: here if it is small, in a thread if it is large."""
    return await in_thread(work, *arguments) if is_large else work(*arguments)
