"""Workers to share a step's work in tests: they know nothing but what travelled to them, and are never in order."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from components.contract.workers import Member


class PicklingWorkers:
    """Does what workers elsewhere do, in this process: each knows only what was pickled, and others may be faster.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int = 2) -> None:
        self.count = count
        self.items: list[Any] = []
        """What was given to them."""

    def require(self) -> None:
        """See `Workers`."""

    def map(
        self, prepare: Callable[[], Any], function: Callable[[Any, Any], Any], items: Iterable[Any]
    ) -> Iterator[Any]:
        """See `Workers`."""
        items = list(items)
        self.items += items
        sent = pickle.dumps((prepare, function))
        workers = []
        for _ in range(self.count):
            prepare, function = pickle.loads(sent)
            workers.append((prepare(), function))
        results: dict[int, bytes] = {}
        for number in reversed(range(len(items))):
            state, function = workers[number % self.count]
            results[number] = pickle.dumps(function(state, pickle.loads(pickle.dumps(items[number]))))
        for number in range(len(items)):
            yield pickle.loads(results[number])

    def together(self, function: Callable[[Member], None]) -> None:
        """Nobody asks these for it."""
        raise NotImplementedError
