"""A call under way: its deadline, and the memory that its request and its answer take.

The transport begins a call. The code that answers it gets it by `current()`, also in threads, so that the call isn't a
parameter of every function.
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
"""A request or answer up to this size needs no room: the limit on pending requests bounds them well enough."""


class Room:
    """Memory that calls share; a call that finds too little left waits its turn. Belongs to one event loop.

    Args:
        size: How many bytes there are. A call that wants more waits for all of them.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: collections.deque[tuple[int, asyncio.Future[None]]] = collections.deque()

    @property
    def waiting(self) -> int:
        """How many calls wait for room."""
        return len(self._waiting)

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
        seconds: How long it may take; None for any time.
        requests: Room for all large requests.
        answers: Room for all large answers.

    Attributes:
        is_left: Whether nobody waits for its answer any more.
    """

    def __init__(self, seconds: float | None, requests: Room, answers: Room) -> None:
        self.seconds = seconds
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self._rooms = {"request": requests, "answer": answers}
        self.task: asyncio.Task[Any] | None = None
        self.is_left = False
        self._taken: list[tuple[Room, int]] = []

    @property
    def holds_room(self) -> bool:
        """Whether the call holds any room."""
        return bool(self._taken)

    async def hold(self, what: str, size: int) -> None:
        """Waits until there is room for the `request` or the `answer`, and keeps it until the call's end.

        Every call takes room for its request first, so that no two calls wait for each other.

        Raises:
            StatusError: DEADLINE_EXCEEDED if there was none in time.
        """
        if size > SMALL_BYTES:
            room = self._rooms[what]
            self._taken.append((room, await room.take(size)))
            self.check()

    def end(self) -> None:
        """Gives back all room once the work on the call ends: what a thread works on, it works on to its end."""
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
        """Raises an error if the deadline has passed, or nobody waits any more.

        Raises:
            StatusError: DEADLINE_EXCEEDED or CANCELLED.
        """
        if self.is_left:
            raise StatusError(Code.CANCELLED, "nobody waits for the answer any more")
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
    """The call that is being answered here; None outside of any call."""
    return _current.get()


def check() -> None:
    """Raises an error if the current call is late or canceled already, so that no work is done in vain.

    Raises:
        StatusError: DEADLINE_EXCEEDED or CANCELLED.
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
