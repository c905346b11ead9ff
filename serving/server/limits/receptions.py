"""The memory that messages of gRPC take while they are being received.

gRPC's library collects a whole message before Python sees a byte of it, and doesn't say how large it will be. So each
message that is being received counts as one of the largest size, and only a few are received at once. One that has come
with its call takes no time at all; only large ones, and those that a client sends slowly, keep their place.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from serving.server.limits.calls import Room
from serving.server.status import Code, StatusError

LEAST_PATIENCE_SECONDS = 0.05


class Receptions:
    """Receives messages, a few at a time; the others wait their turn. Belongs to one event loop.

    While calls wait, the message that has been coming for longest is given up if it takes too long: the more calls
    wait, the sooner. So clients that begin messages and never end them hold up others for a moment only.

    Args:
        at_once: How many messages are received at a time.
        waiting: How many calls may wait.
        patience_seconds: How long a message may take to come while one call waits.
    """

    def __init__(self, at_once: int, waiting: int, patience_seconds: float = 1.0) -> None:
        self._places = Room(at_once)
        self._most_waiting = waiting
        self._patience_seconds = patience_seconds
        self._began: dict[asyncio.Future[bytes], float] = {}  # the oldest first
        self._timer: asyncio.TimerHandle | None = None

    async def receive(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """A message, once it has come as a whole.

        Args:
            read: Begins to receive it.

        Raises:
            StatusError: UNAVAILABLE if too many calls wait, or if it came too slowly while others waited.
        """
        if self._places.waiting >= self._most_waiting:
            raise StatusError(
                Code.UNAVAILABLE,
                f"{self._places.waiting} calls wait to be received, which is the limit; try again later",
            )
        asyncio.get_running_loop().call_soon(self._give_up_the_oldest)
        place = await self._places.take(1)
        reading = asyncio.ensure_future(read())
        self._began[reading] = time.monotonic()
        try:
            await asyncio.wait((reading,))
            if reading.cancelled():
                raise StatusError(
                    Code.UNAVAILABLE,
                    "The message came too slowly while others waited for the memory that it takes; try again later",
                )
            return reading.result()
        finally:
            reading.cancel()
            del self._began[reading]
            del reading  # it has the message, and an error would keep this frame
            self._places.give(place)
            self._give_up_the_oldest()

    def _give_up_the_oldest(self) -> None:
        """Ends the message that has been coming for longest if its time is over, else looks again when it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._places.waiting or not self._began:
            return
        oldest, began = next(iter(self._began.items()))
        patience = max(LEAST_PATIENCE_SECONDS, self._patience_seconds / self._places.waiting)
        seconds = began + patience - time.monotonic()
        if seconds <= 0:
            oldest.cancel()
        else:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._give_up_the_oldest)
