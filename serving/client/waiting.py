"""How one code, written as coroutines, serves both the client that blocks and the one with an event loop.

A coroutine that never has to wait runs from its start to its end without an event loop. So both kinds of connection
have coroutines as methods: those of a blocking connection block inside, and never hand over to an event loop; those
of an asynchronous connection let other tasks work meanwhile.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_at_once(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that never waits for an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: Result = finished.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking connection never hands over to an event loop")


async def sleep_blocking(seconds: float) -> None:
    """Blocks this thread."""
    time.sleep(seconds)


async def sleep_async(seconds: float) -> None:
    """Lets other tasks work meanwhile."""
    await asyncio.sleep(seconds)
