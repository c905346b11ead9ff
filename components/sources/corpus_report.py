"""Statistics of a corpus by split and text column.

A text column is a leaf of the flattened records that holds text or a list of texts (`title`, `answers.text`). A
list counts as one text, its entries joined by blanks, because preprocessing reads it so.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contract.reports import BySplit, ColumnReport, CorpusReport, MixedSource, Parts, Skipped
from components.sources import text_arrays
from components.sources.column_statistics import ColumnStatistics, Digests, keys_of_values
from components.sources.corpus_sentences import anomalies, summary
from components.sources.parts import held_out
from components.sources.record_batches import bounded, tables_of
from components.sources.text_arrays import KEY_BYTES

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

    from components.sources import Loaded
    from components.sources.splitting import Rows

COUNTED_BYTES = 1 << 22
"""Records of about so many bytes are counted at once; one that alone has more is looked at in slices."""


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
    from components.blocks.text_fields import find_field, text_columns

    schema = splits["train"].features.arrow_schema
    # Dotted names and their paths: a field's own name may hold dots.
    paths = {name: found[0] for name in text_columns(schema) if (found := find_field(list(schema), name))}
    records = {name: Digests() for name in splits}
    columns = {column: {name: ColumnStatistics() for name in splits} for column in paths}
    for name, dataset in splits.items():
        by_split = {path: columns[column][name] for column, path in paths.items()}
        for table in tables_of(dataset):
            for part in bounded(table, COUNTED_BYTES):
                add_records(part.combine_chunks(), by_split, records[name])
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


def add_records(table: "pyarrow.Table", columns: Mapping[tuple[str, ...], ColumnStatistics], records: Digests) -> None:
    """Counts the texts of some records, and adds a key for each record.

    Two records have the same key where all of their values are written alike.

    Args:
        table: The records, in one chunk, small together or one alone.
        columns: Where the texts of each path are counted.
        records: Where the records' keys are added.
    """
    from pyarrow import types

    if not table.num_columns:
        for _ in range(table.num_rows):
            records.add("")
        return
    is_small = table.nbytes <= COUNTED_BYTES
    keys = []  # of each column, (records, bytes)
    for field, column in zip(table.schema, table.columns, strict=True):
        array = column.chunk(0)
        is_string = types.is_string(field.type) or types.is_large_string(field.type)
        if is_string and is_small and (field.name,) in columns and is_valid(array):
            keys.append(columns[field.name,].add_texts(array))
        elif types.is_integer(field.type) or types.is_floating(field.type) or types.is_boolean(field.type):
            keys.append(text_arrays.keys_of_numbers(array))
        else:
            values = array.to_pylist()
            for path, statistics in columns.items():
                if path[0] == field.name:
                    is_nested = types.is_nested(field.type)
                    statistics.add([texts_at(value, path[1:]) for value in values] if is_nested else values)
            keys.append(keys_of_values(values, is_string))
    if len(keys) == 1 and keys[0].shape[1] == KEY_BYTES:
        records.add_keys(keys[0])
        return
    joined, digest = np.concatenate(keys, axis=1), hashlib.blake2b
    width, view = joined.shape[1], memoryview(joined.tobytes())
    starts = range(0, len(view), width)
    records.content += b"".join(
        [digest(view[start : start + width], digest_size=KEY_BYTES).digest() for start in starts]
    )


def is_valid(array: "pyarrow.Array") -> bool:
    """Whether all strings of an array are UTF-8."""
    import pyarrow

    try:
        array.validate(full=True)
    except pyarrow.ArrowInvalid:
        return False
    return True


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
