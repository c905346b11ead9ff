"""How requests of every protocol are bounded, and come to their end."""

import asyncio
import threading

import pytest

from serving.server.limits import calls
from serving.server.limits.threads import in_thread
from serving.server.limits.workers import Workers, convert
from serving.server.status import StatusError


async def until(event: threading.Event) -> None:
    while not event.is_set():
        await asyncio.sleep(0.001)


def test_a_client_that_leaves_frees_its_place_at_once_and_what_a_thread_does_for_it_comes_to_its_end() -> None:
    async def leave() -> list[str]:
        workers, happened = Workers(1, 2), []
        workers.start()
        begun, may_end = threading.Event(), threading.Event()

        def work(name: str) -> None:
            happened.append(f"{name} begins")
            begun.set()
            assert may_end.wait(60)

        async def answer(name: str) -> None:
            try:
                await in_thread(work, name)
            finally:  # where a model is given back, which then may be closed
                happened.append(f"{name} ends")

        clients = [asyncio.create_task(workers.do(lambda name=name: answer(name))) for name in ("works", "waits")]
        await until(begun)
        with pytest.raises(StatusError, match="UNAVAILABLE: 2 requests are being answered or wait"):
            await workers.do(lambda: answer("refused"))
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)
        assert all(client.cancelled() for client in clients)
        happened.append("left")
        after = asyncio.create_task(workers.do(lambda: answer("after")))
        await asyncio.sleep(0.05)
        may_end.set()
        await after
        await workers.stop()
        return happened

    happened = asyncio.run(leave())
    assert happened[:3] == ["works begins", "waits ends", "left"]
    assert sorted(happened[3:]) == ["after begins", "after ends", "works ends"]


def test_questions_about_the_state_need_no_place() -> None:
    async def ask() -> str:
        workers = Workers(1, 1)
        may_end = asyncio.Event()

        async def state() -> str:
            return "AVAILABLE"

        busy = asyncio.create_task(workers.do(may_end.wait))
        await asyncio.sleep(0)
        answer = await workers.do(state, is_limited=False)
        may_end.set()
        await busy
        await workers.stop()
        return answer

    assert asyncio.run(ask()) == "AVAILABLE"


def test_work_that_nobody_waits_for_stops_where_it_looks() -> None:
    async def leave() -> str:
        workers, happened = Workers(1, 2), []
        workers.start()
        begun, may_look = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            assert may_look.wait(60)
            try:
                calls.check()
            except StatusError as error:
                happened.append(str(error))

        client = asyncio.create_task(workers.do(lambda: in_thread(work)))
        await until(begun)
        client.cancel()
        await asyncio.wait((client,))
        may_look.set()
        await workers.stop()
        return happened

    assert asyncio.run(leave()) == ["CANCELLED: nobody waits for the answer any more"]


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
