"""Who does the work of a step: the process that runs it, or several that share it, here or on other machines."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
State = TypeVar("State")


@dataclasses.dataclass(frozen=True)
class Member:
    """One of the processes that work on a step together, all at the same time.

    Attributes:
        rank: Its number, from 0; the one with 0 is the chief, which alone writes what the step makes.
        count: How many there are.
    """

    rank: int
    count: int

    @property
    def is_chief(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0


class MemberLost(Exception):
    """Raised by a function that processes run together, where another of them is gone: all are to be started anew."""


class Workers(Protocol):
    """Processes that share a step's work. They see the same files at the same paths.

    Functions and what they are given travel to other processes by pickle, and so does what they return.
    """

    @property
    def count(self) -> int:
        """How many processes work at once."""

    def require(self) -> None:
        """Refuses, before any work, workers that can't be had.

        Raises:
            PipelineError: If they are elsewhere, and can't be reached, or lack what was asked for.
        """

    def map(
        self, prepare: Callable[[], State], function: Callable[[State, Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """A function of each item, in the items' order, some of them at once.

        An item whose process dies is done again by another one, so that a function writes nothing.

        Args:
            prepare: Makes, once in each process, what the function needs for every item, such as a loaded model.
            function: Is called with that and an item.
            items: What is to be done.

        Raises:
            PipelineError: What a function raised, or that processes died again and again.
        """

    def together(self, function: Callable[[Member], None]) -> None:
        """Calls a function in every process at the same time, with addresses by which they find each other.

        `TF_CONFIG` says them to TensorFlow, as its `worker`s in the order of their ranks. Each process is a new one,
        which hasn't used TensorFlow before. Where one dies, or the function raises `MemberLost` in it, all are started
        anew, so that the function goes on from what it left on the disk.

        Raises:
            PipelineError: What a function raised, or that processes died again and again.
        """


class ThisProcess:
    """The process that runs the step does all of it."""

    count = 1

    def require(self) -> None:
        """See `Workers`."""

    def map(
        self, prepare: Callable[[], State], function: Callable[[State, Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """See `Workers`."""
        state = prepare()
        return (function(state, item) for item in items)

    def together(self, function: Callable[[Member], None]) -> None:
        """See `Workers`."""
        function(Member(0, 1))


THIS_PROCESS = ThisProcess()
"""The workers of who has no others."""
