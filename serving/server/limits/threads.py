"""Work in threads for calls whose clients may leave."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    """Does work in one of the event loop's threads, where the current call is the same.

    Canceled while it waits for a thread, the work is dropped at once, with all that it refers to. Canceled later, it
    comes to its end first: until then nobody may close or give back what it works on.
    """
    task: list[Callable[[], Result]] = [partial(contextvars.copy_context().run, work, *arguments)]
    # Belongs to the thread once that runs it, or to the canceler: whoever is first.
    claim: Future[None] = Future()

    def run() -> Any:
        return task.pop()() if claim.set_running_or_notify_cancel() else None

    running: asyncio.Future[Any] = asyncio.get_running_loop().run_in_executor(None, run)
    try:
        result: Result = await asyncio.shield(running)
        return result
    except asyncio.CancelledError:
        if claim.cancel():
            task.clear()
            running.cancel()
        else:
            await ended(running)
        raise
    finally:
        del running  # an error in it has this frame


async def ended(future: "asyncio.Future[Any]") -> None:
    """Waits until a future is done, whatever its result is."""
    await asyncio.wait((future,))
    if not future.cancelled():
        future.exception()
