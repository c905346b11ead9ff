"""How far a long piece of work is: one protocol for every step, and one line of the terminal for all of them.

A step counts what it has done, which costs an addition. Whoever draws asks for the line, twice a second at most.
"""

import contextlib
import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, TypeVar

from foundation.terminal.layout import cell_len, cropped

Item = TypeVar("Item")

MOST_BAR, LEAST_BAR = 30, 5
"""Columns of the bar."""
BYTES = "B"
"""The unit of what is counted in bytes."""
SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
LEAST_SECONDS = 0.5
"""Of work; in less there is no measure of its speed."""


@dataclasses.dataclass
class Progress:
    """How far a piece of work is.

    Attributes:
        doing: What is done: "tokenizing", say.
        total: How much there is to do; None where nobody knows.
        unit: Of what: "records", or `BYTES`; may be empty. None where the amount says nothing to a person.
        status: What else is known by now, in a few words.
        done: How much is done.

    Example:
        progress = Progress("tokenizing", total=3, unit="records")
        progress.advance(2)
        progress.line(60)  # '  tokenizing 2/3 records ████████████████████░░░░░░░░░░ 66%'
    """

    doing: str
    total: float | None = None
    unit: str | None = ""
    status: str = ""
    done: float = 0

    def __post_init__(self) -> None:
        self.step = ""
        """The step whose work it is."""
        self._created = self._began = time.monotonic()
        self._before = self.done
        self._has_advanced = False
        self._files: dict[str, Callable[[], float]] = {}

    def advance(self, amount: float = 1) -> None:
        """Counts what was just done."""
        self.done += amount
        if not self._has_advanced:
            # The first part is no measure of the others: something is compiled or opened for it.
            self._has_advanced = True
            self.began(time.monotonic(), self.done)

    def began(self, moment: float, done: float) -> None:
        """Sets from when on the speed is measured.

        Args:
            moment: By `time.monotonic`.
            done: How much was done by then.
        """
        self._began, self._before = moment, done

    @contextlib.contextmanager
    def follow(self, path: str, file: IO[Any]) -> Iterator[None]:
        """Counts how far a file is read, while the context lasts, and then all of it. Reading isn't slower for it.

        Args:
            path: The file's name, so that one that is read again isn't counted twice.
            file: What reads the file's bytes, open.
        """
        self._files[path] = functools.partial(_position, file)
        try:
            yield
        finally:
            size = _size(file)
            self._files[path] = lambda: size

    @property
    def all_done(self) -> float:
        """How much is done, with the files that are being read."""
        return self.done + sum(position() for position in list(self._files.values()))

    def watch(self, items: Iterable[Item], amount: Callable[[Item], float] = lambda item: 1) -> Iterator[Item]:
        """Gives items on to whoever works on them, and counts each when the next one is asked for.

        Args:
            items: What is worked on.
            amount: How much an item is.
        """
        for item in items:
            yield item
            self.advance(amount(item))

    @property
    def rate(self) -> float | None:
        """How much is done a second; None while it is too early to say."""
        seconds = time.monotonic() - self._began
        done = self.all_done - self._before
        return done / seconds if done > 0 and seconds >= LEAST_SECONDS else None

    def line(self, columns: int | None) -> str:
        """The progress in one line, with as much of it as there is room for.

        Args:
            columns: At most so many cells; None for any number, without a bar.
        """
        rate, done = self.rate, self.all_done
        unit = f" {self.unit}" if self.unit and self.unit != BYTES else ""
        amount = size_text if self.unit == BYTES else short_number
        speed = "" if rate is None or self.unit is None else f"{amount(rate)}/s"
        if self.total:
            share = min(max(done / self.total, 0.0), 1.0)
            eta = "" if rate is None else f"ETA {clock(max(self.total - done, 0) / rate)}"
        else:
            share, eta = None, clock(time.monotonic() - self._created)
        step = f"{self.step:<11} " if self.step else ""
        heads = [f"  {step}{self.doing}", f"  {self.doing}", self.doing]
        if self.unit is not None:
            count = self._count(done)
            heads = [f"{heads[0]} {count}{unit}", *(f"{head} {count}" for head in heads[1:]), count]
        facts = [[each for each in some if each] for some in ((self.status, speed, eta), (speed, eta), (eta,))]
        return composed(columns, heads, share, facts)

    def _count(self, done: float) -> str:
        if self.unit == BYTES:
            return size_text(done) + (f"/{size_text(self.total)}" if self.total else "")
        return f"{done:,.0f}" + (f"/{self.total:,.0f}" if self.total else "")


def _position(file: IO[Any]) -> float:
    """How many bytes of a file were read; 0 where that can't be known."""
    try:
        return os.lseek(file.fileno(), 0, os.SEEK_CUR)
    except (OSError, ValueError, AttributeError):
        return 0


def _size(file: IO[Any]) -> float:
    try:
        return os.fstat(file.fileno()).st_size
    except (OSError, ValueError, AttributeError):
        return 0


def composed(columns: int | None, heads: Sequence[str], share: float | None, facts: Sequence[Sequence[str]]) -> str:
    """A line of progress: what is done, a bar, the share, and facts.

    Args:
        columns: At most so many cells; None for any number, without a bar.
        heads: What the line may begin with, the longest first.
        share: How much is done, 0 to 1; None where nobody knows.
        facts: What the line may end with, the longest first.
    """
    percent = [] if share is None else [f"{math.floor(share * 100)}%"]
    if columns is None:
        return ", ".join([heads[0].rstrip(), *percent, *facts[0]])
    if share is not None:
        with_bar = [(heads[0], facts[0], 2 * LEAST_BAR)]
        with_bar += [(head, some, LEAST_BAR) for some in facts[1:3] for head in heads[:2]]
        for head, some, least in with_bar:
            end = f" {percent[0]} {' · '.join(some)}".rstrip()
            room = min(columns - cell_len(head) - 1 - cell_len(end), MOST_BAR)
            if room >= least:
                return f"{head} {bar(share, room)}{end}"
    for some in (*facts, ()):
        for head in heads:
            line = " ".join([head, *percent, " · ".join(some)]).rstrip()
            if cell_len(line) <= columns:
                return line
    return cropped(percent[0] if percent else heads[0].strip(), columns)


def bar(share: float, columns: int) -> str:
    """A share, 0 to 1, as a bar."""
    full = math.floor(share * columns)
    return "█" * full + "░" * (columns - full)


def short_number(value: float) -> str:
    """A number in at most four characters or so: 812, 7.1k, 26k, 1.2M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size * 0.9995:
            return f"{value / size:.{0 if value >= 9.95 * size else 1}f}{unit}"
    return f"{value:.0f}"


def size_text(size: float) -> str:
    """Bytes in a few characters: `512 B`, `4.2 MB`, `310 MB`."""
    for unit, each in SIZES:
        if size >= each * 0.9995:
            return f"{size / each:.1f} {unit}" if size < 9.95 * each else f"{size / each:,.0f} {unit}"
    return f"{size:.0f} {BYTES}"


def clock(seconds: float) -> str:
    """A time as 0:18, 1:02:05 or 2 days 03:04."""
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days {hours % 24:02d}:{minute:02d}"
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
