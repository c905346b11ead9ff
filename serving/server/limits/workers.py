"""Answers requests of every protocol, and bounds how many there may be at once.

A request is a coroutine: a thread for each would cost more than a small model does. Only graphs, and messages that
take long to read or write, are worked on in threads: those of the event loop's default executor.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from serving.server.limits.calls import Call, Room, answering
from serving.server.status import Code, StatusError

Result = TypeVar("Result")
LARGE_BYTES = 1 << 16
LARGE_VALUES = 1 << 11


class Workers:
    """Room for so many requests and no more. Belongs to one event loop.

    Args:
        threads: How many graphs and large messages are worked on at once.
        pending_requests: How many requests may be worked on or wait at once.
        request_bytes: What large requests may take together.
        answer_bytes: What large answers may take together.
    """

    def __init__(
        self, threads: int, pending_requests: int, request_bytes: int = 1 << 28, answer_bytes: int = 1 << 29
    ) -> None:
        self._rooms = Room(request_bytes), Room(answer_bytes)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._limit = pending_requests
        self._pending: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Has the running event loop use the threads."""
        asyncio.get_running_loop().set_default_executor(self._pool)

    def refuse_if_full(self) -> None:
        """Refuses a request that there is no room for, before its body is read.

        Raises:
            StatusError: UNAVAILABLE if as many as may be are pending.
        """
        if len(self._pending) >= self._limit:
            raise StatusError(
                Code.UNAVAILABLE,
                f"{len(self._pending)} requests are being answered or wait, which is the limit; try again later",
            )

    def begin(self, seconds: float | None) -> Call:
        """A call that has just come, and may take so long; None for as long as it takes."""
        return Call(seconds, *self._rooms)

    async def do(self, answer: Callable[[], Coroutine[Any, Any, Result]], call: Call | None = None) -> Result:
        """Answers one request, to the end even if its client leaves: its model must stay in use as long.

        Args:
            answer: Answers.
            call: What `serving.server.limits.calls.current` is to be meanwhile; one without limits if None.

        Raises:
            StatusError: UNAVAILABLE if as many as may be are pending.
        """
        self.refuse_if_full()
        call = call or self.begin(None)
        with answering(call):
            call.task = task = asyncio.create_task(answer())
        self._pending.add(task)
        task.add_done_callback(self._finish)
        try:
            await asyncio.wait((task,))
            return task.result()
        finally:
            # Its error would hold this frame, which holds it: all that the request took would stay for long.
            del task

    def _finish(self, task: "asyncio.Task[Any]") -> None:
        self._pending.discard(task)
        if not task.cancelled():
            task.exception()  # nobody waits for it any more if its client left

    async def stop(self) -> None:
        """Lets what is worked on end; what still waits for a thread is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._pending:
            await asyncio.wait(self._pending)
        self._pool.shutdown(wait=True)


async def convert(is_large: bool, work: Callable[..., Result], *arguments: Any) -> Result:
    """Reads or writes a message: at once, or in a thread if it is large."""
    return await asyncio.to_thread(work, *arguments) if is_large else work(*arguments)
