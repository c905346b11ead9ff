"""A call under way: until when it is to be answered, and the memory that it and its answer take.

The transport begins a call, and whatever answers it finds it by `current()`, in threads too, without handing it on.
"""

import asyncio
import collections
import contextlib
import contextvars
import time
from collections.abc import Iterator
from typing import Any

from serving.server.status import Code, StatusError

SMALL_BYTES = 1 << 20
"""What takes less needs no room: the number of requests bounds it well enough."""


class Room:
    """Memory that calls share: who finds none left waits, first come first served. Belongs to one event loop.

    Args:
        size: Bytes. Who wants more than that gets all.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: collections.deque[tuple[int, asyncio.Future[None]]] = collections.deque()

    async def take(self, wanted: int) -> int:
        """Waits until there is room.

        Returns:
            The bytes to give back.
        """
        wanted = min(wanted, self._size)
        if self._waiting or wanted > self._free:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((wanted, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.give(wanted)
                else:
                    self.give(0)
                raise
        else:
            self._free -= wanted
        return wanted

    def give(self, taken: int) -> None:
        """Gives back what was taken."""
        self._free += taken
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)


class Call:
    """One call, from the moment its head has come until its answer has left.

    Args:
        seconds: How long it may take; None for as long as it takes.
        requests: Room for what large requests hold.
        answers: Room for what large answers hold.
    """

    def __init__(self, seconds: float | None, requests: Room, answers: Room) -> None:
        self.seconds = seconds
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self._rooms = {"request": requests, "answer": answers}
        self.task: asyncio.Task[Any] | None = None
        self._taken: list[tuple[Room, int]] = []

    @property
    def holds_room(self) -> bool:
        """Whether it took any."""
        return bool(self._taken)

    async def hold(self, what: str, size: int) -> None:
        """Waits until there is room for the `request` or the `answer`, and keeps it until the call's end.

        All take room for the request first, so that no two calls wait for each other.

        Raises:
            StatusError: DEADLINE_EXCEEDED if there was none in time.
        """
        if size > SMALL_BYTES:
            room = self._rooms[what]
            self._taken.append((room, await room.take(size)))
            self.check()

    def end(self) -> None:
        """Gives back all room, once nothing is worked on any more: a late answer is made to its end."""
        if self.task is not None and not self.task.done():
            self.task.add_done_callback(lambda _: self._give_back())
        else:
            self._give_back()

    def _give_back(self) -> None:
        self.task = None
        while self._taken:
            room, size = self._taken.pop()
            room.give(size)

    def check(self) -> None:
        """Raises where the answer would come too late.

        Raises:
            StatusError: DEADLINE_EXCEEDED.
        """
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise self.late()

    def late(self) -> StatusError:
        """The error of a call that took too long."""
        return StatusError(
            Code.DEADLINE_EXCEEDED,
            f"Timed out waiting for notification: a call must be answered within {self.seconds:g} seconds, with all "
            "that it reads, waits for and writes (--timeout-seconds)",
        )


_current: contextvars.ContextVar[Call | None] = contextvars.ContextVar("call", default=None)


def current() -> Call | None:
    """The call that is being answered here; None where nothing of the kind was begun."""
    return _current.get()


def check() -> None:
    """Raises where the current call is late already, so that nothing is done in vain.

    Raises:
        StatusError: DEADLINE_EXCEEDED.
    """
    if (call := current()) is not None:
        call.check()


async def hold(what: str, size: int) -> None:
    """Waits for room for the current call's `request` or `answer`."""
    if (call := current()) is not None:
        await call.hold(what, size)


@contextlib.contextmanager
def answering(call: Call) -> Iterator[None]:
    """Makes a call the current one, for the tasks and threads that are begun in the context."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)
