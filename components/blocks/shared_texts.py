"""The texts of a split as tokens: read and tokenized here, or by workers that each take some of the records."""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Union

import numpy as np

from components.blocks.encoding import CHARACTERS_A_BATCH, Encoded, TextEncoder, untruncated
from components.blocks.progress import Place
from components.blocks.text_column import TextReader, refuse_no_text
from components.contract.artifacts import Corpus, Tokenizer
from components.contract.reports import StreamReport
from components.contract.workers import Workers

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets.table import Table

Records = Union["pa.RecordBatch", "EncodedRecords"]
"""Some records of a stream: as they are, or as tokens."""
SHARD_BYTES = 8 << 20
"""About how many bytes of a kept split a worker takes at once. A split with less than two of them isn't shared: to
start a process takes longer. Neither changes anything in what comes out."""


class RecordStream(Protocol):
    """Records that come from their source, shard by shard."""

    @property
    def report(self) -> StreamReport:
        """What the stream consists of."""

    def record_batches(self, start: Place, records: int) -> "Iterator[tuple[Place, pa.RecordBatch]]":
        """The records from a place on, before which there are so many, each batch with the place after it."""

    def shard_batches(self, number: int, read: int) -> "Iterator[tuple[Place, pa.RecordBatch]]":
        """The records of one shard, but so many, in the same batches."""


class Texts(Protocol):
    """Records as tokens, in their order."""

    @property
    def records(self) -> int:
        """The number of records so far."""

    @property
    def skipped(self) -> dict[str, int]:
        """The number of those without text so far, by reason."""

    def encoded(self) -> Iterator[Encoded]:
        """The tokens of the texts, batch by batch."""

    def rows_with_text(self) -> Iterator[int]:
        """The row of each text, from 0. Ask for no more rows than texts were given."""


@dataclasses.dataclass(frozen=True)
class TokenizedColumn:
    """What is tokenized, and how: all that a process needs to know.

    Attributes:
        corpus: Has the records.
        tokenizer: Tokenizes them.
        split: train or test.
        column: The column's name, as `TextReader` takes it.
        characters_at_once: As `encode` takes it.
        stream: Has the records that the corpus doesn't keep.
    """

    corpus: Corpus
    tokenizer: Tokenizer
    split: str
    column: str
    characters_at_once: int
    stream: RecordStream | None = None

    def prepare(self) -> "ColumnTokenizer":
        """Loads the tokenizer."""
        return ColumnTokenizer(self, TextEncoder(untruncated(self.tokenizer.load()), self.characters_at_once))


class ColumnTokenizer:
    """Tokenizes a column.

    Args:
        column: Which one.
        encoder: Tokenizes, each word once.
    """

    def __init__(self, column: TokenizedColumn, encoder: TextEncoder) -> None:
        self._column = column
        self._encoder = encoder

    def texts(self, records: "Iterable[pa.RecordBatch] | None" = None) -> "ReadTexts":
        """The texts of some records, or of the whole split."""
        column = self._column
        reader = TextReader(column.corpus, column.split, column.column, records)
        return ReadTexts(reader, self._encoder)

    def encoded_rows(self, rows: range) -> "EncodedRecords":
        """Some records of a split that the corpus keeps."""
        return self._encoded(self._records.slice(rows.start, len(rows)).to_batches())

    @functools.cached_property
    def _records(self) -> "Table":
        return self._column.corpus.split(self._column.split).data

    def encoded_shard(self, start: "Place") -> "list[tuple[Place, EncodedRecords]]":
        """The records of one shard of a stream from a place on, with the place after each part of them."""
        batches = required(self._column.stream).shard_batches(*start)
        return [((place[0], place[1]), self._encoded([batch])) for place, batch in batches]

    def _encoded(self, records: "Sequence[pa.RecordBatch]") -> "EncodedRecords":
        texts = self.texts(records)
        batches = tuple(texts.encoded())
        found = sum(len(batch.tokens) for batch in batches)
        rows = np.fromiter(texts.rows_with_text(), np.int64, found)
        return EncodedRecords(batches, rows, texts.records, texts.skipped, sum(each.nbytes for each in records))


class ReadTexts:
    """Texts that this process reads and tokenizes; see `Texts`."""

    def __init__(self, reader: TextReader, encoder: TextEncoder) -> None:
        self._reader = reader
        self._encoder = encoder

    @property
    def records(self) -> int:
        """See `Texts`."""
        return self._reader.records

    @property
    def skipped(self) -> dict[str, int]:
        """See `Texts`."""
        return self._reader.skipped

    def encoded(self) -> Iterator[Encoded]:
        """See `Texts`."""
        return self._encoder.encode(self._reader.batches(CHARACTERS_A_BATCH))

    def rows_with_text(self) -> Iterator[int]:
        """See `Texts`."""
        return self._reader.rows_with_text()


@dataclasses.dataclass(frozen=True)
class EncodedRecords:
    """Some records that follow each other, as tokens.

    Attributes:
        batches: The tokens of the texts.
        rows: (texts,) int64, the row of each text among these records, from 0.
        records: How many records they are.
        skipped: How many of them have no text, by reason.
        nbytes: The bytes of the records in memory.
    """

    batches: tuple[Encoded, ...]
    rows: np.ndarray
    records: int
    skipped: dict[str, int]
    nbytes: int


class SharedTexts:
    """Texts that come as tokens; see `Texts`.

    Args:
        parts: The records, part by part, in their order.
    """

    def __init__(self, parts: Iterable[EncodedRecords]) -> None:
        self._parts = parts
        self._rows: collections.deque[int] = collections.deque()
        self.records = 0
        self.skipped = {"null": 0, "empty": 0}

    def encoded(self) -> Iterator[Encoded]:
        """See `Texts`."""
        for part in self._parts:
            self._rows.extend((part.rows + self.records).tolist())
            self.records += part.records
            self.skipped = {reason: count + part.skipped[reason] for reason, count in self.skipped.items()}
            yield from part.batches

    def rows_with_text(self) -> Iterator[int]:
        """See `Texts`."""
        while True:
            yield self._rows.popleft()


class StreamedTexts:
    """A train split that is streamed, from a place on: an iterator of records, each part with the place after it.

    One process reads record batches; workers take whole shards, and give their tokens.

    Args:
        column: What is tokenized.
        workers: Who tokenizes.
        start: Where to begin.
        records: How many records of the stream are before that.
    """

    def __init__(self, column: TokenizedColumn, workers: Workers, start: Place, records: int) -> None:
        # Where the stream ends after so many records, only those who read all before know where that is.
        stream = required(column.stream)
        self._is_shared = workers.count > 1 and stream.report.max_train_records is None
        self._tokenizer = None if self._is_shared else column.prepare()
        self._parts: Iterator[tuple[Place, Records]] = (
            _shared_shards(column, workers, start) if self._is_shared else iter(stream.record_batches(start, records))
        )

    def __iter__(self) -> Iterator[tuple[Place, Records]]:
        return self

    def __next__(self) -> tuple[Place, Records]:
        return next(self._parts)

    def texts_of(self, records: Iterator[Any]) -> Texts:
        """Some of the records as tokens.

        Args:
            records: In the form in which this gives them.
        """
        return SharedTexts(records) if self._tokenizer is None else self._tokenizer.texts(records)


def _shared_shards(column: TokenizedColumn, workers: Workers, start: Place) -> Iterator[tuple[Place, Records]]:
    first, read = start
    shards = [
        (number, read if number == first else 0) for number in range(first, len(required(column.stream).report.shards))
    ]
    for parts in workers.map(column.prepare, ColumnTokenizer.encoded_shard, shards):
        yield from parts


def texts_of_split(column: TokenizedColumn, workers: Workers) -> Texts:
    """The texts of a split that the corpus keeps, tokenized by one process or by several.

    Raises:
        DataError: At the end, if no record has text; or if there is no such column, or it doesn't hold text.
    """
    if workers.count == 1 or column.corpus.split(column.split).data.nbytes < 2 * SHARD_BYTES:
        return column.prepare().texts()
    return SharedTexts(_shared_rows(column, workers))


def _shared_rows(column: TokenizedColumn, workers: Workers) -> Iterator[EncodedRecords]:
    shards = row_ranges(column, workers.count)
    records, skipped = 0, {"null": 0, "empty": 0}
    for part in workers.map(column.prepare, ColumnTokenizer.encoded_rows, shards):
        records += part.records
        skipped = {reason: count + part.skipped[reason] for reason, count in skipped.items()}
        yield part
    refuse_no_text(column.split, column.column, records, skipped)


def row_ranges(column: TokenizedColumn, workers: int) -> list[range]:
    """The rows of a split in parts of about `SHARD_BYTES`, and at least one for each worker."""
    data = column.corpus.split(column.split).data
    rows = data.num_rows
    parts = min(rows, max(workers, data.nbytes // SHARD_BYTES))
    ends = [rows * number // max(1, parts) for number in range(parts + 1)]
    return [range(start, end) for start, end in itertools.pairwise(ends)]


def required(stream: RecordStream | None) -> RecordStream:
    """The stream of a column that has one."""
    if stream is None:
        raise ValueError("the corpus keeps these records, and streams none")
    return stream
