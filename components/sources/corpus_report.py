"""Statistics of a corpus by split and text column, and the anomalies that they show.

A text column is a leaf of the flattened records that holds text or a list of texts (`title`, `answers.text`). A
list counts as one text, its entries joined by blanks, because preprocessing reads it so.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.contract.reports import BySplit, ColumnCounts, ColumnReport, CorpusReport, MixedSource, Parts, Skipped
from components.sources.parts import held_out
from components.sources.record_batches import tables_of

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

    from components.sources import Loaded
    from components.sources.splitting import Rows

DIGEST_BYTES = 16
SLICE_CHARACTERS = 1 << 20
"""A long text is looked at in slices of so many characters, because a list of its words takes ten times its memory."""


def slices(text: str) -> Iterator[str]:
    """A text in slices of at most `SLICE_CHARACTERS` characters."""
    return (text[start : start + SLICE_CHARACTERS] for start in range(0, len(text), SLICE_CHARACTERS))


def count_words(text: str) -> int:
    """How many words `text.split()` would give."""
    if len(text) <= SLICE_CHARACTERS:
        return len(text.split())
    words = 0
    is_open = False  # whether the slice before ended inside of a word
    for piece in slices(text):
        words += len(piece.split()) - (is_open and not piece[0].isspace())
        is_open = not piece[-1].isspace()
    return words


MOST_REPEATED = 0.1
"""The run's line says how many test records stand in train, too, where they are a larger part than this."""


class Digests:
    """A digest of 16 bytes for each record, so that a million records take 16 MB."""

    def __init__(self) -> None:
        self.content = bytearray()

    def add(self, text: str) -> None:
        """Adds the digest of a text."""
        if len(text) <= SLICE_CHARACTERS:
            data = text.encode("utf-8", "surrogatepass")
            self.content += hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
            return
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

    def add(self, values: Iterable[str | list[str | None] | None]) -> None:
        """Counts the values of some records."""
        for value in values:
            self.rows += 1
            if value is None:
                self.null += 1
                continue
            text = value if type(value) is str else " ".join([item for item in value if item])
            words = len(text.split()) if len(text) <= SLICE_CHARACTERS else count_words(text)
            if not words:
                self.empty += 1
                continue
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
        rows: How the records were split; None where that isn't known.
        mixture: The sources of a mixture.
    """

    available: int | None = None
    parts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unnamed: Sequence[str] = ()
    mixed: Sequence[str] = ()
    rows: "Rows | None" = None
    mixture: tuple[MixedSource, ...] = ()

    @classmethod
    def of(cls, loaded: "Loaded", rows: "Rows", mixture: tuple[MixedSource, ...] = ()) -> "Choice":
        """The choice that was made in loading a source and splitting its records."""
        return cls(loaded.available, loaded.parts, loaded.unnamed, loaded.mixed, rows, mixture)

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
        left_out = sum(parts.left_out.values()) if (parts := self.reported_parts()) else 0
        held = sum(self.rows.unlimited) if self.rows and self.rows.unlimited else records
        available = max(self.available or 0, held + left_out)
        return available if available > records else None


def describe(splits: Mapping[str, "Dataset"], choice: Choice | None = None) -> CorpusReport:
    """Statistics of a corpus, and the anomalies that they show.

    Args:
        splits: The records of `train` and `test`.
        choice: Which records of the source these are; None for all of them.

    Returns:
        The report without what only the source knows: `source` and `skipped` are empty.
    """
    import pyarrow

    from components.blocks.text_fields import find_field, text_columns

    schema = splits["train"].features.arrow_schema
    # Dotted names and their paths: a field's own name may hold dots.
    paths = {name: found[0] for name in text_columns(schema) if (found := find_field(list(schema), name))}
    plain = {(field.name,) for field in schema if not pyarrow.types.is_nested(field.type)}
    records = {name: Digests() for name in splits}
    columns = {column: {name: ColumnStatistics() for name in splits} for column in paths}
    for name, dataset in splits.items():
        for table in tables_of(dataset):
            rows = table.to_pylist()
            for record in rows:
                # repr, unlike JSON, has a text for every value that Arrow gives: dates, bytes, NaN.
                records[name].add(repr(record))
            for column, path in paths.items():
                values = [record[path[0]] for record in rows]
                columns[column][name].add(values if path in plain else [texts_at(value, path[1:]) for value in values])
    across = {column: columns[column]["test"].digests.also_in(columns[column]["train"].digests) for column in paths}
    choice = choice or Choice()
    report = CorpusReport(
        summary="",
        parts=choice.reported_parts(),
        unlimited=choice.rows.unlimited if choice.rows else None,
        by_group=choice.rows.by_group if choice.rows else None,
        by_time=choice.rows.by_time if choice.rows else None,
        mixture=choice.mixture,
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


def with_source(report: CorpusReport, loaded: "Loaded") -> CorpusReport:
    """A report with what the source knows: what was read, guessed and skipped, and its anomalies."""
    line = report.summary
    if loaded.guesses:
        more = f" (and {len(loaded.guesses) - 1:,} more)" if len(loaded.guesses) > 1 else ""
        line += f"; {loaded.guesses[0]}{more}"
    return dataclasses.replace(
        report,
        summary=line,
        anomalies=(*loaded.guesses, *loaded.anomalies, *report.anomalies),
        source=loaded.facts,
        skipped=tuple(Skipped(**skipped) for skipped in loaded.skipped),
    )


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
    records, available, parts = sum(report.records), report.available, report.parts
    line = f"{records:,} records" if available is None else f"{records:,} of {available:,} records"
    whole = report.unlimited or report.records
    cut = [name for name, has, had in zip(("train", "test"), report.records, whole, strict=True) if has < had]
    reasons = [f"ingest.max_{name}_records" for name in cut]
    left_out = sum(parts.left_out.values()) if parts else 0
    if available is not None and sum(whole) + left_out < available:
        reasons.insert(0, "ingest.split")
    line += f" by {' and '.join(reasons)}" if reasons else ""
    line += f" ({how_split(report)})"
    columns = report.columns
    if not columns:
        return f"{line}, no text column"
    longest = max(columns, key=lambda name: words_of(columns[name]))
    line += f", {words_of(columns[longest]):,} words in {longest}"
    if (repeated := report.test_records_in_train) > MOST_REPEATED * report.records.test:
        line += f"; {repeated:,} of {report.records.test:,} test records stand in train, too"
    return line


def how_split(report: CorpusReport) -> str:
    """The records on each side, and how they came there."""
    sides = zip(("train", "test"), report.records, report.unlimited or report.records, strict=True)
    how = ", ".join(f"{has:,} {name}" if has == had else f"{has:,} of {had:,} {name}" for name, has, had in sides)
    if parts := report.parts:
        how += ", as the files are named" if parts.test == "test" else " from the files named validation"
        how += "".join(f"; {count:,} of {name} left out" for name, count in parts.left_out.items())
    if group := report.by_group:
        train, test = group.groups
        how += f"; {train:,} and {test:,} groups by {group.column}"
        how += f", {group.without_value:,} of them records without a value" if group.without_value else ""
    if time := report.by_time:
        how += f"; test from {time.column} {time.first_test} on"
    if report.mixture:
        each = (f"{one.name} {' + '.join(f'{count:,}' for count in one.records)}" for one in report.mixture)
        how += f"; {', '.join(each)}"
    if report.unnamed:
        how += f"; {listed(report.unnamed)} left out"
    if report.mixed:
        how += f"; {listed(report.mixed)} mixed with the others"
    return how


def anomalies(report: CorpusReport) -> Iterator[str]:
    """What a person should know before training on the corpus, a sentence each.

    Some columns repeat by nature (a category, a subreddit). So values that are in train too are mentioned only for a
    column in which most test records have values of their own.
    """
    if report.mixed:
        yield (
            f"{listed(report.mixed)}: named as another part of the data, but mixed with the other files, since none is "
            "named train, or ingest.test_path names the test records; name or move files so to keep the parts"
        )
    for name, count in report.parts.left_out.items() if report.parts else ():
        yield f"{counted(count, name, 'was', 'were')} left out: the pipeline trains on train and measures on test"
    for name, has, had in zip(("train", "test"), report.records, report.unlimited or report.records, strict=True):
        if has < had:
            yield f"{has:,} of {had:,} {name} records were drawn by ingest.seed (ingest.max_{name}_records)"
    if report.by_group and report.by_group.without_value:
        yield (
            f"{report.by_group.without_value:,} records have no {report.by_group.column}: each was split by itself, as "
            "a group of its own"
        )
    for one in report.mixture:
        if one.weight != 1:
            yield f"the train records of {one.name} stand in the train split {one.weight:g} times (ingest.sources)"
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
