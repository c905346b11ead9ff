"""How requests of every protocol are bounded, and come to their end."""

import asyncio
import threading

import pytest

from serving.server.limits.workers import Workers, convert
from serving.server.status import StatusError


def test_a_request_comes_to_its_end_though_its_client_leaves() -> None:
    async def leave() -> list[str]:
        workers, happened = Workers(1, 1), []
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def answer() -> None:
            begun.set()
            await may_end.wait()
            happened.append("answered")

        client = asyncio.create_task(workers.do(answer))
        await begun.wait()
        client.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client
        happened.append("left")
        with pytest.raises(StatusError, match="UNAVAILABLE: 1 requests are being answered or wait"):
            await workers.do(answer)
        may_end.set()
        await workers.stop()
        return happened

    assert asyncio.run(leave()) == ["left", "answered"]


def test_the_end_waits_for_what_is_worked_on_and_drops_what_waits_for_a_thread() -> None:
    async def end() -> list[str]:
        workers = Workers(1, 2)
        workers.start()
        begun, may_end = threading.Event(), threading.Event()

        def work(name: str) -> str:
            begun.set()
            assert may_end.wait(60)
            return name

        async def answer(name: str) -> str:
            return await asyncio.to_thread(work, name)

        tasks = [asyncio.create_task(workers.do(lambda name=name: answer(name))) for name in ("first", "second")]
        while not begun.is_set():
            await asyncio.sleep(0)
        stopping = asyncio.create_task(workers.stop())
        await asyncio.sleep(0)
        may_end.set()
        await stopping
        return [
            one if isinstance(one, str) else type(one).__name__
            for one in await asyncio.gather(*tasks, return_exceptions=True)
        ]

    assert asyncio.run(end()) == ["first", "CancelledError"]


@pytest.mark.parametrize("is_large", [False, True])
def test_large_messages_are_converted_in_a_thread(is_large: bool) -> None:
    here = threading.get_ident()
    assert (asyncio.run(convert(is_large, threading.get_ident)) == here) is not is_large
