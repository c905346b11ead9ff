"""A train split that is streamed: its records come from their source, shard by shard, whenever they are needed.

A shard is a file of the source. The order of the stream is that of the shards, and in each that of its records. The
first records of a shard may be in the test split; they are left out.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeVar

from components.contract.reports import Shard, StreamReport
from components.sources.hub_shards import HubShards
from components.sources.local_shards import LocalShards

if TYPE_CHECKING:
    import pyarrow

Item = TypeVar("Item")

RECORDS_A_SLICE = 16
"""The records of a beginning are counted in so many at once."""


class Position(NamedTuple):
    """A place in a stream, between two records.

    Attributes:
        shard: The number of the shard, from 0.
        records: How many of the shard's records are before this place, those of the test split included.
    """

    shard: int
    records: int


class Shards(Protocol):
    """A source of which single shards can be read."""

    most_beginnings: ClassVar[int | None]
    """Of how many shards the beginnings are read where a part of the records is enough; None for all."""

    def record_batches(
        self, shard: Shard, schema: "pyarrow.Schema", paths: Sequence[tuple[str, ...]], skip: int
    ) -> Generator["pyarrow.RecordBatch", None, None]:
        """The records of a shard, each time in the same batches.

        Args:
            shard: The shard, which must be as it was when the corpus was ingested.
            schema: The columns of the corpus.
            paths: Which of them are wanted, as names of columns and of fields below them. Others may be left out.
            skip: How many records at the beginning are left out.

        Raises:
            PipelineError: If it can't be read, or isn't what it was.
        """


def shards_of(stream: StreamReport) -> Shards:
    """The source of a stream, as it was described when the corpus was ingested."""
    return LocalShards(**stream.source) if stream.kind == "local files" else HubShards(**stream.source)


@dataclasses.dataclass(frozen=True)
class Stream:
    """The train records of a corpus that is streamed, from a place on.

    Attributes:
        report: What the stream consists of.
        schema: The columns of the corpus.
        paths: The columns that are wanted, as names of columns and of fields below them.

    Example:
        stream = Stream(corpus.stream, corpus.columns().data.schema, [("answers", "text")])
        for position, batch in stream.record_batches():
            print(batch.num_rows, "records up to", position)
    """

    report: StreamReport
    schema: "pyarrow.Schema"
    paths: Sequence[tuple[str, ...]]

    def record_batches(
        self, start: tuple[int, int] = (0, 0), records: int = 0
    ) -> Iterator[tuple[Position, "pyarrow.RecordBatch"]]:
        """The records, in batches bounded in bytes, each with the place after it.

        Args:
            start: Where to begin, as a `Position`.
            records: How many records of the stream are before that.

        Raises:
            PipelineError: If a shard can't be read, or isn't what it was.
        """
        most = self.report.max_train_records
        first, read = start
        for number in range(first, len(self.report.shards)):
            if most is not None and records >= most:
                return
            for place, batch in self.shard_batches(number, read if number == first else 0):
                if most is not None and records + batch.num_rows >= most:
                    left_out = records + batch.num_rows - most
                    place, batch = Position(number, place.records - left_out), batch.slice(0, most - records)
                records += batch.num_rows
                yield place, batch
                if records == most:
                    return

    def shard_batches(self, number: int, read: int = 0) -> Iterator[tuple[Position, "pyarrow.RecordBatch"]]:
        """The records of one shard, in the same batches, each with the place after it.

        Args:
            number: The shard's number, from 0.
            read: How many records at its beginning are left out, if they are more than those of the test split.

        Raises:
            PipelineError: If it can't be read, or isn't what it was.
        """
        shard = self.report.shards[number]
        at = max(shard.test_records, read)
        for batch in self.source.record_batches(shard, self.schema, self.paths, at):
            at += batch.num_rows
            yield Position(number, at), batch

    @functools.cached_property
    def source(self) -> Shards:
        """Where the shards are read."""
        return shards_of(self.report)

    def beginnings(self, characters: int) -> Iterator["pyarrow.RecordBatch"]:
        """The first records of every shard (or of `most_beginnings` shards, evenly chosen), where a part is enough.

        Where the stream ends early, at `max_train_records`, it is its own beginning instead.

        Args:
            characters: The characters of all wanted columns that the records have, or a few records more. Each shard
                gives its share of them, and of what those before it lacked.

        Raises:
            PipelineError: If a shard can't be read, or isn't what it was.
        """
        found = 0
        parts = list(self._parts())
        for number, part in enumerate(parts, 1):
            share = number * characters // len(parts)
            with contextlib.closing(part()) as batches:
                slices = (batch.slice(start, RECORDS_A_SLICE) for batch in batches for start in starts_of(batch))
                while found < share and (few := next(slices, None)) is not None:
                    found += self.characters_of(few)
                    yield few

    def _parts(self) -> "Iterator[Callable[[], Generator[pyarrow.RecordBatch, None, None]]]":
        """What opens the records of each shard of which the beginning is read, or the stream where it ends early."""
        if self.report.max_train_records is not None:
            yield lambda: (batch for _, batch in self.record_batches())
            return
        for shard in evenly(self.report.shards, self.source.most_beginnings):
            yield functools.partial(self.source.record_batches, shard, self.schema, self.paths, shard.test_records)

    def characters_of(self, batch: "pyarrow.RecordBatch") -> int:
        """How many characters of the wanted columns some records have."""
        import pyarrow.compute

        from components.blocks.text_fields import descend

        lengths = (pyarrow.compute.utf8_length(descend(batch, path)[0]) for path in self.paths)
        return sum(pyarrow.compute.sum(each).as_py() or 0 for each in lengths)


def starts_of(batch: "pyarrow.RecordBatch") -> range:
    """Where the slices of a batch begin."""
    return range(0, batch.num_rows, RECORDS_A_SLICE)


def evenly(items: Sequence[Item], most: int | None) -> list[Item]:
    """All items, or so many of them at equal distances, the first among them."""
    if most is None or len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]
