"""What became of the data: the reports of a Corpus, a Tokenizer and Blocks."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class BySplit(Generic[Value]):
    """One value for each split of a corpus.

    Attributes:
        train: That of the train split.
        test: That of the test split.
    """

    train: Value
    test: Value

    def __iter__(self) -> Iterator[Value]:
        """The two values, train first."""
        return iter((self.train, self.test))


@dataclasses.dataclass(frozen=True)
class Parts:
    """Which of a source's own parts the splits are.

    Attributes:
        train: The part that is the train split.
        test: The part that is the test split, `test` or `validation`.
        left_out: The number of records of each part that is neither.
    """

    train: str
    test: str
    left_out: Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnCounts:
    """Counts over one text column of one split.

    Attributes:
        with_zeros: Values with a NUL character, which no text should have.
        rows: Records.
        null: Records whose value is null.
        empty: Records whose value has no word.
        duplicates: Values that repeat an earlier one; neither null nor empty ones count.
        characters: Unicode code points of all values.
        words: Words of all values, as blanks part them.
    """

    with_zeros: int = 0
    rows: int
    null: int
    empty: int
    duplicates: int
    characters: int
    words: int


@dataclasses.dataclass(frozen=True)
class ColumnReport(BySplit[ColumnCounts]):
    """Counts over one text column.

    Attributes:
        train: Over the train split.
        test: Over the test split.
        test_in_train: Values of the test split that are in the train split too.
    """

    train: ColumnCounts
    test: ColumnCounts
    test_in_train: int


@dataclasses.dataclass(frozen=True)
class Skipped:
    """Something in a source that is no record, and was passed over.

    Attributes:
        what: What it is, such as a file's name.
        count: How often.
        reason: Why.
    """

    what: str
    count: int
    reason: str


@dataclasses.dataclass(frozen=True)
class GroupSplit:
    """How records with equal values stayed on one side of the split.

    Attributes:
        column: The column of the values.
        groups: The number of different values on each side, before limits cut it.
        without_value: The records without a value among them, each of which counts as a group.
    """

    column: str
    groups: BySplit[int]
    without_value: int


@dataclasses.dataclass(frozen=True)
class TimeSplit:
    """Where the newest records, which are the test split, begin.

    Attributes:
        column: The column of the times.
        last_train: The latest time in the train split.
        first_test: The earliest time in the test split.
    """

    column: str
    last_train: str
    first_test: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedSource:
    """One source of a mixture.

    Attributes:
        name: Its value in the column `source`.
        weight: How often each of its train records stands in the train split.
        text_column: The column that was read into `text`.
        available: The number of records that the source has.
        records: The number of its records in each split; a train record counts as often as it stands there.
        words: The words of these records, counted so too.
    """

    name: str
    weight: float
    text_column: str
    available: int
    records: BySplit[int]
    words: BySplit[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Streamed:
    """What is known of a train split that is streamed, of which only the beginnings were read.

    Attributes:
        shards: The number of shards.
        bytes: Their size as they are stored, compressed or not.
    """

    shards: int
    bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusReport:
    """`report.json` of a Corpus.

    Attributes:
        summary: What came out, in a line.
        parts: Which of the source's own parts the splits are; None where the records were split at random.
        available: The number of records that the source has, where the corpus holds only some of them.
        unlimited: The number of records of each split before `ingest.max_train_records` and `ingest.max_test_records`
            cut them; None where neither did.
        by_group: How records with equal values stayed on one side; None where no column asked for it.
        by_time: Where the newest records begin; None where the split isn't by time.
        mixture: The sources of a mixture; none where there is one source.
        unnamed: The files that are none of the parts, and were left out.
        mixed: The files that are named as another part, though they were read with the others.
        streamed: What the train split consists of, where it is streamed: then everything else that is said of train is
            said of the records that were read at the beginnings of its shards.
        records: The number of records.
        duplicate_records: The number of records that repeat an earlier one of their split whole.
        test_records_in_train: The number of test records that repeat a train record whole.
        columns: Counts by the dotted name of a text column.
        anomalies: What a person should know about the corpus, a sentence each.
        source: What was read, by name: the kind of source, its revision or files. Each kind of source has its own
            names.
        skipped: What the source holds that is no record.
    """

    summary: str
    parts: Parts | None = None
    available: int | None = None
    unlimited: BySplit[int] | None = None
    by_group: GroupSplit | None = None
    by_time: TimeSplit | None = None
    mixture: tuple[MixedSource, ...] = ()
    unnamed: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()
    streamed: Streamed | None = None
    records: BySplit[int]
    duplicate_records: BySplit[int]
    test_records_in_train: int
    columns: Mapping[str, ColumnReport]
    anomalies: tuple[str, ...]
    source: Mapping[str, Any]
    skipped: tuple[Skipped, ...]


@dataclasses.dataclass(frozen=True)
class RecordsWithoutText:
    """Records that were passed over for want of text.

    Attributes:
        null: Records whose text is null.
        empty: Records whose text is empty.
    """

    null: int
    empty: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.null + self.empty


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """`report.json` of a Tokenizer.

    Attributes:
        kind: Its class, or what cuts words in one that was trained here, such as `byte-level BPE`.
        origin: Where it comes from.
        vocab_size: Tokens, special and added ones among them.
        special_tokens: Their ids by their text.
        model_max_length: The longest sequence in tokens that it declares; a huge number for none.
        training_records: The records that a tokenizer was trained on; None for a pretrained one.
        training_records_skipped: The records without text among them; None for a pretrained one.
        text_column: The column that it was trained on, where that isn't the one that was named.
        added_tokens: The words that `tokenizer.add_tokens` added, in the order of their ids.
        notes: What was guessed or left out, and what a person should know of the text, a sentence each.
        summary: What came out, in a line.
    """

    kind: str
    origin: str
    vocab_size: int
    special_tokens: Mapping[str, int]
    model_max_length: float
    training_records: int | None = None
    training_records_skipped: RecordsWithoutText | None = None
    text_column: str | None = None
    added_tokens: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    summary: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockCounts:
    """What became of one split.

    Attributes:
        records: Records read, with and without text.
        skipped: The records without text among them.
        tokens: Tokens of all records, special ones among them.
        blocks: Blocks written.
        tokens_kept: Tokens in the blocks.
        tokens_dropped: Tokens at the end that fill no block.
        padding: Positions of the blocks that hold no token; None where records are concatenated and none is padded.
    """

    records: int
    skipped: RecordsWithoutText
    tokens: int
    blocks: int
    tokens_kept: int
    tokens_dropped: int
    padding: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlocksReport:
    """`report.json` of Blocks.

    Attributes:
        block_size: Positions a block.
        packing: How records fill blocks: `concatenate`, `documents` or `packed`.
        text_column: The column that was read.
        special_tokens_per_record: Tokens that the tokenizer adds to each record.
        splits: What became of each split.
        summary: What came out, in a line.
    """

    block_size: int
    packing: str = "concatenate"
    text_column: str
    special_tokens_per_record: int
    splits: BySplit[BlockCounts]
    summary: str
