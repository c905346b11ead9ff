"""Statistics of a corpus by split and text column, and the anomalies that they show.

A text column is a leaf of the flattened records that holds text or a list of texts (`title`, `answers.text`). A
list counts as one text, its entries joined by blanks, because preprocessing reads it so.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.contract.reports import BySplit, ColumnCounts, ColumnReport, CorpusReport, Parts
from components.sources.parts import held_out
from components.sources.record_batches import tables_of

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

    from components.sources import Loaded

DIGEST_BYTES = 16
SLICE_CHARACTERS = 1 << 20
"""A long text is looked at in slices of so many characters, because a list of its words takes ten times its memory."""


def slices(text: str) -> Iterator[str]:
    """A text in slices of at most `SLICE_CHARACTERS` characters."""
    return (text[start : start + SLICE_CHARACTERS] for start in range(0, len(text), SLICE_CHARACTERS))


def count_words(text: str) -> int:
    """How many words `text.split()` would give."""
    words = 0
    is_open = False  # whether the slice before ended inside of a word
    for piece in slices(text):
        words += len(piece.split()) - (is_open and not piece[0].isspace())
        is_open = not piece[-1].isspace()
    return words


class Digests:
    """A digest of 16 bytes for each record, so that a million records take 16 MB."""

    def __init__(self) -> None:
        self.content = bytearray()

    def add(self, text: str) -> None:
        """Adds the digest of a text."""
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for piece in slices(text):
            digest.update(piece.encode("utf-8", "surrogatepass"))
        self.content += digest.digest()

    def array(self) -> "pyarrow.Array":
        """The digests, (records,) of 16 bytes each."""
        import pyarrow

        count = len(self.content) // DIGEST_BYTES
        return pyarrow.Array.from_buffers(
            pyarrow.binary(DIGEST_BYTES), count, [None, pyarrow.py_buffer(bytes(self.content))]
        )

    def repeated(self) -> int:
        """How many digests repeat an earlier one."""
        array = self.array()
        return len(array) - len(array.unique())

    def also_in(self, other: "Digests") -> int:
        """How many digests are among the other ones, too."""
        import pyarrow.compute

        return int(pyarrow.compute.sum(pyarrow.compute.is_in(self.array(), other.array().unique())).as_py() or 0)


class ColumnStatistics:
    """Counts over one text column of one split."""

    def __init__(self) -> None:
        self.rows = self.null = self.empty = self.characters = self.words = self.zeros = 0
        self.digests = Digests()

    def add(self, value: str | list[str | None] | None) -> None:
        """Counts one record's value."""
        self.rows += 1
        if value is None:
            self.null += 1
            return
        text = value if isinstance(value, str) else " ".join([item for item in value if item])
        words = count_words(text)
        if not words:
            self.empty += 1
            return
        self.zeros += "\0" in text
        self.characters += len(text)
        self.words += words
        self.digests.add(text)

    def counts(self) -> ColumnCounts:
        """The counts so far."""
        return ColumnCounts(
            with_zeros=self.zeros,
            rows=self.rows,
            null=self.null,
            empty=self.empty,
            duplicates=self.digests.repeated(),
            characters=self.characters,
            words=self.words,
        )


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which of a source's records the corpus holds, and how they came to be train and test.

    Attributes:
        available: The number of records that the source has, where `ingest.split` chose among them.
        parts: The number of records by part, where the source's own parts were kept.
        unnamed: The files that are named as no part, and were left out.
        mixed: The files that are named as another part, although they were read with the others.
    """

    available: int | None = None
    parts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unnamed: Sequence[str] = ()
    mixed: Sequence[str] = ()

    @classmethod
    def of(cls, loaded: "Loaded") -> "Choice":
        """The choice that was made in loading a source."""
        return cls(loaded.available, loaded.parts, loaded.unnamed, loaded.mixed)

    def reported_parts(self) -> Parts | None:
        """Which of the source's own parts the splits are; None where the records were split at random."""
        if not self.parts:
            return None
        test = held_out(self.parts)
        left_out = {name: count for name, count in self.parts.items() if name not in ("train", test) and count}
        return Parts("train", test, left_out)

    def reported_available(self, records: int) -> int | None:
        """The number of records that the source has; None where the corpus holds all of them.

        Args:
            records: The number of records in the corpus.
        """
        if parts := self.reported_parts():
            return sum(self.parts.values()) if parts.left_out else None
        return self.available if self.available is not None and self.available > records else None


def describe(splits: Mapping[str, "Dataset"], choice: Choice | None = None) -> CorpusReport:
    """Statistics of a corpus, and the anomalies that they show.

    Args:
        splits: The records of `train` and `test`.
        choice: Which records of the source these are; None for all of them.

    Returns:
        The report without what only the source knows: `source` and `skipped` are empty.
    """
    from components.blocks.text_column import find_field, text_columns

    schema = splits["train"].features.arrow_schema
    # Dotted names and their paths: a field's own name may hold dots.
    paths = {name: found[0] for name in text_columns(schema) if (found := find_field(list(schema), name))}
    records = {name: Digests() for name in splits}
    columns = {column: {name: ColumnStatistics() for name in splits} for column in paths}
    for name, dataset in splits.items():
        for table in tables_of(dataset):
            for record in table.to_pylist():
                # repr, unlike JSON, has a text for every value that Arrow gives: dates, bytes, NaN.
                records[name].add(repr(record))
                for column, path in paths.items():
                    columns[column][name].add(texts_at(record, path))
    across = {column: columns[column]["test"].digests.also_in(columns[column]["train"].digests) for column in paths}
    choice = choice or Choice()
    report = CorpusReport(
        summary="",
        parts=choice.reported_parts(),
        available=choice.reported_available(sum(len(dataset) for dataset in splits.values())),
        unnamed=tuple(choice.unnamed),
        mixed=tuple(choice.mixed),
        records=BySplit(len(splits["train"]), len(splits["test"])),
        duplicate_records=BySplit(records["train"].repeated(), records["test"].repeated()),
        test_records_in_train=records["test"].also_in(records["train"]),
        columns={
            column: ColumnReport(by_split["train"].counts(), by_split["test"].counts(), across[column])
            for column, by_split in columns.items()
        },
        anomalies=(),
        source={},
        skipped=(),
    )
    return dataclasses.replace(report, summary=summary(report), anomalies=tuple(anomalies(report)))


def texts_at(value: Any, path: tuple[str, ...]) -> Any:
    """The text at a path, or a list of all texts where lists are on the path; None where something on it is null."""
    if isinstance(value, list):
        below = [texts_at(item, path) for item in value]
        return [text for one in below for text in (one if isinstance(one, list) else [one])]
    if value is None or not path:
        return value
    return texts_at(value[path[0]], path[1:])


def words_of(column: ColumnReport) -> int:
    """The words of a column in both splits."""
    return column.train.words + column.test.words


def summary(report: CorpusReport) -> str:
    """What came in, in one line: the records, and the words of the column that has the most."""
    train, test = report.records
    parts, available = report.parts, report.available
    line = f"{train + test:,} records" if available is None else f"{train + test:,} of {available:,} records"
    if available is not None and not parts:
        line += " by ingest.split"
    how = f"{train:,} train, {test:,} test"
    if parts:
        how += ", as the files are named" if parts.test == "test" else " from the files named validation"
        how += "".join(f"; {count:,} of {name} left out" for name, count in parts.left_out.items())
    if report.unnamed:
        how += f"; {listed(report.unnamed)} left out"
    if report.mixed:
        how += f"; {listed(report.mixed)} mixed with the others"
    line += f" ({how})"
    columns = report.columns
    if not columns:
        return f"{line}, no text column"
    longest = max(columns, key=lambda name: words_of(columns[name]))
    return f"{line}, {words_of(columns[longest]):,} words in {longest}"


def anomalies(report: CorpusReport) -> Iterator[str]:
    """What a person should know before training on the corpus, a sentence each.

    Some columns repeat by nature (a category, a subreddit). So values that are in train too are mentioned only for a
    column in which most test records have values of their own.
    """
    if report.mixed:
        yield (
            f"{listed(report.mixed)}: named as another part of the data, but mixed with the other files, since none is "
            "named train; name the others so to keep the parts"
        )
    for name, count in report.parts.left_out.items() if report.parts else ():
        yield f"{counted(count, name, 'was', 'were')} left out: the pipeline trains on train and measures on test"
    if report.parts and report.parts.test == "validation":
        yield "the test split is the files named validation: none is named test"
    if not report.columns:
        yield "no column holds text or a list of texts"
    for split, count in zip(("train", "test"), report.duplicate_records, strict=True):
        if count:
            yield f"{counted(count, split, 'repeats', 'repeat')} an earlier one whole"
    if count := report.test_records_in_train:
        yield f"{counted(count, 'test', 'repeats', 'repeat')} a train record whole"
    for name, column in report.columns.items():
        for split, counts in zip(("train", "test"), column, strict=True):
            if count := counts.null + counts.empty:
                yield f"{counted(count, split, 'has', 'have')} no text in {name}"
            if count := counts.with_zeros:
                yield f"{counted(count, split, 'holds', 'hold')} NUL characters in {name}, which no text should have"
        filled = column.test.rows - column.test.null - column.test.empty
        if 0 < column.test_in_train < math.ceil(filled / 2):
            yield f"{counted(column.test_in_train, 'test', 'repeats', 'repeat')} a train record in {name}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(count: int, split: str, singular: str, plural: str) -> str:
    """The beginning of a sentence about a number of records of a split."""
    return f"1 {split} record {singular}" if count == 1 else f"{count:,} {split} records {plural}"
