"""One client for programs that wait and for those that don't: its code is written once, as coroutines.

A coroutine that awaits only what is ready runs from its start to its end without an event loop. So the transports
are given connections whose methods are coroutines: those of a blocking connection wait inside, those of an
asynchronous one let others work meanwhile.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def now(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that never waits for an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: Result = finished.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking connection never hands over to an event loop")


async def sleep_here(seconds: float) -> None:
    """Waits, and so does everything else in this thread."""
    time.sleep(seconds)


async def sleep_aside(seconds: float) -> None:
    """Lets others work meanwhile."""
    await asyncio.sleep(seconds)
