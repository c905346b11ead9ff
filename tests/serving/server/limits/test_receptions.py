"""The memory that messages of gRPC take while they are being received."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from serving.server.limits.receptions import Receptions
from serving.server.status import Code, StatusError


class Sender:
    """Clients of which each sends its message when it's told to."""

    def __init__(self) -> None:
        self.coming: dict[int, asyncio.Future[bytes]] = {}
        self.most = 0

    def read(self, number: int) -> Callable[[], Awaitable[bytes]]:
        def begin() -> Awaitable[bytes]:
            self.coming[number] = asyncio.get_running_loop().create_future()
            self.most = max(self.most, sum(not one.done() for one in self.coming.values()))
            return self.coming[number]

        return begin

    async def send(self, number: int) -> None:
        while number not in self.coming:
            await asyncio.sleep(0)
        self.coming[number].set_result(str(number).encode())


def test_a_few_at_once_and_in_their_order() -> None:
    async def run() -> tuple[list[bytes], int]:
        receptions, sender = Receptions(2, 10), Sender()
        calls = [asyncio.create_task(receptions.receive(sender.read(number))) for number in range(5)]
        for number in (1, 0, 2, 4, 3):
            await sender.send(number)
        return await asyncio.gather(*calls), sender.most

    assert asyncio.run(run()) == ([b"0", b"1", b"2", b"3", b"4"], 2)


def test_slow_ones_are_given_up_only_while_others_wait() -> None:
    async def run() -> None:
        receptions, sender = Receptions(1, 10, patience_seconds=0.3), Sender()
        slow = asyncio.create_task(receptions.receive(sender.read(0)))
        await asyncio.sleep(0.5)
        assert not slow.done()
        quick = asyncio.create_task(receptions.receive(sender.read(1)))
        with pytest.raises(StatusError, match="came too slowly"):
            await slow
        await sender.send(1)
        assert await quick == b"1"

    asyncio.run(run())


def test_the_more_wait_the_sooner_they_are_given_up() -> None:
    """20 clients that never end their message, before one that does: two at a time, it would wait for 10 seconds."""

    async def run() -> float:
        receptions, sender = Receptions(2, 100, patience_seconds=1.0), Sender()
        slow = [asyncio.create_task(receptions.receive(sender.read(number))) for number in range(20)]
        await asyncio.sleep(0)
        began = time.monotonic()
        quick = asyncio.create_task(receptions.receive(sender.read(20)))
        await sender.send(20)
        await quick
        seconds = time.monotonic() - began
        for one in slow:
            one.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return seconds

    assert asyncio.run(run()) < 8


def test_too_many_that_wait_are_refused_and_those_who_leave_make_room() -> None:
    async def run() -> None:
        receptions, sender = Receptions(1, 2), Sender()
        calls = [asyncio.create_task(receptions.receive(sender.read(number))) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(StatusError) as caught:
            await receptions.receive(sender.read(3))
        assert caught.value.code is Code.UNAVAILABLE
        calls[0].cancel()  # one whose message was coming
        calls[1].cancel()  # one that waited
        await sender.send(2)
        assert await calls[2] == b"2"

    asyncio.run(run())


def test_an_error_of_the_connection_frees_the_place() -> None:
    async def broken() -> bytes:
        raise ConnectionError

    async def run() -> None:
        receptions, sender = Receptions(1, 2), Sender()
        with pytest.raises(ConnectionError):
            await receptions.receive(broken)
        call = asyncio.create_task(receptions.receive(sender.read(0)))
        await sender.send(0)
        assert await call == b"0"

    asyncio.run(run())
