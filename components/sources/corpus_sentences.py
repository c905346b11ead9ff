"""What the statistics of a corpus say, in sentences: the line of the run, and what a person should know of it."""

import math
from collections.abc import Iterator, Sequence

from components.contract.reports import ColumnReport, CorpusReport

MOST_REPEATED = 0.1
"""The run's line says how many test records stand in train, too, where they are a larger part than this."""


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
