"""Statistics of a corpus by split and text column, and the anomalies that they show.

A text column is a leaf of the flattened records that holds text or a list of texts (`title`, `answers.text`). A
list counts as one text, its entries joined by blanks, because preprocessing reads it so.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.sources.parts import held_out

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

    from components.sources import Loaded

BATCH_RECORDS = 1000
DIGEST_BYTES = 16


class Digests:
    """A digest of 16 bytes for each record, so that a million records take 16 MB."""

    def __init__(self) -> None:
        self.content = bytearray()

    def add(self, text: str) -> None:
        """Adds the digest of a text."""
        self.content += hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()

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
        words = len(text.split())
        if not words:
            self.empty += 1
            return
        self.zeros += "\0" in text
        self.characters += len(text)
        self.words += words
        self.digests.add(text)

    def as_dict(self) -> dict[str, int]:
        """The counts by name; neither null nor empty values count as duplicates.

        Values with a NUL character, which no text should have, are counted only where there are some.
        """
        zeros = {"with_zeros": self.zeros} if self.zeros else {}
        return zeros | {
            "rows": self.rows,
            "null": self.null,
            "empty": self.empty,
            "duplicates": self.digests.repeated(),
            "characters": self.characters,
            "words": self.words,
        }


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

    def as_plain(self, records: int) -> dict[str, Any]:
        """What the report says of it: nothing where all of a source's records were split at random.

        Args:
            records: Those of the corpus.
        """
        plain: dict[str, Any] = {}
        if self.parts:
            test = held_out(self.parts)
            left_out = {name: count for name, count in self.parts.items() if name not in ("train", test) and count}
            plain["parts"] = {"train": "train", "test": test, "left_out": left_out}
            if left_out:
                plain["available"] = sum(self.parts.values())
        elif self.available is not None and self.available > records:
            plain["available"] = self.available
        files = {"unnamed": list(self.unnamed), "mixed": list(self.mixed)}
        return plain | {name: names for name, names in files.items() if names}


def describe(splits: Mapping[str, "Dataset"], choice: Choice | None = None) -> dict[str, Any]:
    """Statistics of a corpus.

    Args:
        splits: The records of `train` and `test`.
        choice: Which records of the source these are; None for all of them.

    Returns:
        `summary`, one line; `records` and `duplicate_records` by split; `columns`, by dotted name and split; and
        `anomalies`, a sentence each. Where they are only some of the source's records, how many it has, `available`;
        where its own parts were kept, `parts`: which is `train`, which is `test`, and the records of those `left_out`;
        the files that were `mixed` with others, though named as another part.
    """
    from components.blocks.text_column import find_field, text_columns

    schema = splits["train"].features.arrow_schema
    # Dotted names and their paths: a field's own name may hold dots.
    paths = {name: found[0] for name in text_columns(schema) if (found := find_field(list(schema), name))}
    records = {name: Digests() for name in splits}
    columns = {column: {name: ColumnStatistics() for name in splits} for column in paths}
    for name, dataset in splits.items():
        for table in dataset.with_format("arrow").iter(batch_size=BATCH_RECORDS):
            for record in table.to_pylist():
                # repr, unlike JSON, has a text for every value that Arrow gives: dates, bytes, NaN.
                records[name].add(repr(record))
                for column, path in paths.items():
                    columns[column][name].add(texts_at(record, path))
    across = {column: columns[column]["test"].digests.also_in(columns[column]["train"].digests) for column in paths}
    chosen = (choice or Choice()).as_plain(sum(len(dataset) for dataset in splits.values()))
    report = {
        **chosen,
        "records": {name: len(dataset) for name, dataset in splits.items()},
        "duplicate_records": {name: digests.repeated() for name, digests in records.items()},
        "test_records_in_train": records["test"].also_in(records["train"]),
        "columns": {
            column: {
                **{name: statistics.as_dict() for name, statistics in by_split.items()},
                "test_in_train": across[column],
            }
            for column, by_split in columns.items()
        },
    }
    return {"summary": summary(report), **report, "anomalies": list(anomalies(report))}


def texts_at(value: Any, path: tuple[str, ...]) -> Any:
    """The text at a path, or a list of all texts where lists are on the path; None where something on it is null."""
    if isinstance(value, list):
        below = [texts_at(item, path) for item in value]
        return [text for one in below for text in (one if isinstance(one, list) else [one])]
    if value is None or not path:
        return value
    return texts_at(value[path[0]], path[1:])


def words_of(column: Mapping[str, Any]) -> int:
    """The words of a column in both splits."""
    return int(column["train"]["words"] + column["test"]["words"])


def summary(report: Mapping[str, Any]) -> str:
    """What came in, in one line: the records, and the words of the column that has the most."""
    train, test = report["records"]["train"], report["records"]["test"]
    parts, available = report.get("parts"), report.get("available")
    line = f"{train + test:,} records" if available is None else f"{train + test:,} of {available:,} records"
    if available is not None and not parts:
        line += " by ingest.split"
    how = f"{train:,} train, {test:,} test"
    if parts:
        how += ", as the files are named" if parts["test"] == "test" else " from the files named validation"
        how += "".join(f"; {count:,} of {name} left out" for name, count in parts["left_out"].items())
    if report.get("unnamed"):
        how += f"; {listed(report['unnamed'])} left out"
    if report.get("mixed"):
        how += f"; {listed(report['mixed'])} mixed with the others"
    line += f" ({how})"
    columns = report["columns"]
    if not columns:
        return f"{line}, no text column"
    longest = max(columns, key=lambda name: words_of(columns[name]))
    return f"{line}, {words_of(columns[longest]):,} words in {longest}"


def anomalies(report: Mapping[str, Any]) -> Iterator[str]:
    """What a person should know before training on the corpus, a sentence each.

    Some columns repeat by nature (a category, a subreddit). So values that are in train too are mentioned only for a
    column in which most test records have values of their own.
    """
    if names := report.get("mixed"):
        yield (
            f"{listed(names)}: named as another part of the data, but mixed with the other files, since none is named "
            "train; name the others so to keep the parts"
        )
    for name, count in report.get("parts", {}).get("left_out", {}).items():
        yield f"{counted(count, name, 'was', 'were')} left out: the pipeline trains on train and measures on test"
    if report.get("parts", {}).get("test") == "validation":
        yield "the test split is the files named validation: none is named test"
    if not report["columns"]:
        yield "no column holds text or a list of texts"
    for split, count in report["duplicate_records"].items():
        if count:
            yield f"{counted(count, split, 'repeats', 'repeat')} an earlier one whole"
    if count := report["test_records_in_train"]:
        yield f"{counted(count, 'test', 'repeats', 'repeat')} a train record whole"
    for name, column in report["columns"].items():
        for split in ("train", "test"):
            if count := column[split]["null"] + column[split]["empty"]:
                yield f"{counted(count, split, 'has', 'have')} no text in {name}"
            if count := column[split].get("with_zeros", 0):
                yield f"{counted(count, split, 'holds', 'hold')} NUL characters in {name}, which no text should have"
        filled = column["test"]["rows"] - column["test"]["null"] - column["test"]["empty"]
        if 0 < column["test_in_train"] < math.ceil(filled / 2):
            yield f"{counted(column['test_in_train'], 'test', 'repeats', 'repeat')} a train record in {name}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(count: int, split: str, singular: str, plural: str) -> str:
    """The beginning of a sentence about a number of records of a split."""
    return f"1 {split} record {singular}" if count == 1 else f"{count:,} {split} records {plural}"
