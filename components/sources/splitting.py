"""Decides which records are train and which are test: at random, by a source's own parts, by groups, or by time.

Every function gives row numbers, so that nothing is copied before all is decided.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.contract.reports import BySplit, GroupSplit, TimeSplit
from components.sources import Loaded
from components.sources.params import IngestParams
from components.sources.parts import held_out
from components.sources.selecting import rows_of
from components.sources.split_values import Times, groups_of, times_of
from foundation.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset


@dataclasses.dataclass(frozen=True)
class Rows:
    """Which records are train and which are test.

    Attributes:
        train: (train records,) int64, their rows in the order in which they are written.
        test: (test records,) int64, the same of the test split.
        by_group: How equal values stayed on one side.
        by_time: Where the newest records begin.
        in_order: Whether both splits have the source's order; else they are shuffled.
        unlimited: How many records there were on each side before limits cut them; None where none was cut.
    """

    train: np.ndarray
    test: np.ndarray
    by_group: GroupSplit | None = None
    by_time: TimeSplit | None = None
    in_order: bool = False
    unlimited: BySplit[int] | None = None

    def limited(self, most_train: int | None, most_test: int | None, seed: int) -> "Rows":
        """The same with at most so many records on each side, drawn at random, in the order in which they were.

        Args:
            most_train: The most train records; None for all.
            most_test: The most test records; None for all.
            seed: The seed of what is drawn from a split that isn't shuffled.
        """
        sizes = BySplit(len(self.train), len(self.test))
        train, test = (
            drawn(rows, most, None if not self.in_order else seed)
            for rows, most in ((self.train, most_train), (self.test, most_test))
        )
        is_cut = (len(train), len(test)) != tuple(sizes)
        return dataclasses.replace(self, train=train, test=test, unlimited=sizes if is_cut else None)


def split_alone(loaded: Loaded, params: IngestParams) -> Rows:
    """The split of one source: by column where one is named, its own parts where it has some, else at random.

    Raises:
        ConfigError: If it lacks the column, or has parts besides.
        DataError: If there are too few records for both sides.
    """
    if params.group_column or params.time_column:
        refuse_parts(loaded, params, None)
        return split_by_column([loaded], params)
    if loaded.parts:
        return by_parts(loaded.parts)
    return at_random(len(loaded.dataset), params.test_size, params.seed)


def split_by_column(sources: Sequence[Loaded], params: IngestParams) -> Rows:
    """The split of all records together by `group_column` or `time_column`.

    Raises:
        ConfigError: If a source lacks the column.
        DataError: If values can't be read, or give no split of that size.
    """
    import pyarrow

    if params.group_column:
        values = pyarrow.concat_arrays([groups_of(loaded.dataset, params.group_column) for loaded in sources])
        return by_group(params.group_column, values, params.test_size, params.seed)
    column = str(params.time_column)
    times = [times_of(loaded.dataset, column, loaded.place) for loaded in sources]
    if len({each.are_dates for each in times}) > 1:
        raise DataError(
            "ingest.time_column must hold dates in every source, or numbers in every source",
            received=f"both in {column}",
            remedy="write the times alike, or leave out --ingest.time_column",
        )
    joined = Times(np.concatenate([each.values for each in times]), times[0].are_dates)
    return by_time(column, joined, params.test_size, params.seed)


def refuse_parts(loaded: Loaded, params: IngestParams, name: str | None) -> None:
    """Refuses to split by a column what has parts of its own.

    Raises:
        ConfigError: If it has some.
    """
    if loaded.parts:
        key = "group_column" if params.group_column else "time_column"
        everything = "+".join(loaded.parts)
        raise ConfigError(
            f"ingest.{key} must be given only where the files have no parts of their own",
            received=f"files named {' and '.join(loaded.parts)}" + (f" in the source {name}" if name else ""),
            remedy=f"leave out --ingest.{key} to keep the parts, or split all records anew: "
            + (f"split: {everything} in that source" if name else f"--ingest.split {everything}"),
        )


def drawn(rows: np.ndarray, most: int | None, seed: int | None) -> np.ndarray:
    """At most so many of some rows: the first of them, or, with a seed, some at random that keep their order."""
    if most is None or most >= len(rows):
        return rows
    if seed is None:
        return rows[:most]
    return rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])]


def at_random(records: int, test_size: float, seed: int) -> Rows:
    """The split of `Dataset.train_test_split(test_size, seed=seed)`.

    Raises:
        DataError: If there are too few records for both sides.
    """
    from datasets import Dataset

    refuse_few(records, test_size)
    split = Dataset.from_dict({"row": np.arange(records)}).train_test_split(test_size, seed=seed)
    return Rows(rows_in(split["train"]), rows_in(split["test"]))


def rows_in(numbered: "Dataset") -> np.ndarray:
    """The numbers (rows,) int64 of the rows that a data set has of one in which rows hold their own numbers."""
    if numbered._indices is None:
        return numbered.with_format("arrow")[:]["row"].to_numpy()
    # Many times as fast as taking the rows themselves, which `datasets` does one by one.
    return numbered._indices.column("indices").to_numpy().astype(np.int64)


def by_parts(parts: Mapping[str, int]) -> Rows:
    """The source's own parts as the splits.

    Args:
        parts: The number of records by part, in the order in which they stand in the source.

    Raises:
        DataError: If a part that is needed is empty.
    """
    sizes = {"train": parts["train"], held_out(parts): parts[held_out(parts)]}
    if not all(sizes.values()):
        raise DataError(
            "a corpus must hold at least one record for each of train and test",
            received=" and ".join(f"{size:,} in files named {part}" for part, size in sizes.items()),
            remedy=f"give more records, or split all of them anew: --ingest.split {'+'.join(parts)}",
        )
    ranges = rows_of(parts)
    train, test = ranges["train"], ranges[held_out(parts)]
    return Rows(np.arange(train.start, train.stop), np.arange(test.start, test.stop), in_order=True)


def by_group(column: str, values: "pyarrow.Array", test_size: float, seed: int) -> Rows:
    """A split in which records with equal values stay on one side.

    Groups are drawn at random as long as they fit into the test split; then single groups are exchanged between both
    sides as long as that brings its size nearer to `test_size`. Both splits are shuffled.

    Args:
        column: The column's name, for the report and messages.
        values: (records,) strings; a record whose value is null is a group by itself.
        test_size: The part of the records that should become the test split.
        seed: The seed of what is drawn.

    Raises:
        DataError: If there are too few records, or a group is too large for a split of about that size.
    """
    import pyarrow.compute as pc

    records = len(values)
    refuse_few(records, test_size)
    codes = pc.fill_null(values.dictionary_encode().indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    alone = np.flatnonzero(codes < 0)
    named = int(codes.max(initial=-1)) + 1
    codes[alone] = named + np.arange(len(alone))
    sizes = np.bincount(codes)  # (groups,) records of each
    random = np.random.default_rng(seed)
    in_test = draw_groups(sizes, math.ceil(records * test_size), random)
    is_test = in_test[codes]  # (records,)
    largest = int(sizes.argmax())
    value = values[int(np.flatnonzero(codes == largest)[0])].as_py()
    refuse_far(
        int(is_test.sum()),
        records,
        test_size,
        f"{sizes[largest]:,} of {records:,} records with {column} {value!r}, the largest of {len(sizes):,} groups",
        f"name another --ingest.group_column (now {column})",
    )
    order = random.permutation(records)
    groups = BySplit(int((~in_test).sum()), int(in_test.sum()))
    return Rows(order[~is_test[order]], order[is_test[order]], GroupSplit(column, groups, len(alone)))


def draw_groups(sizes: np.ndarray, wanted: int, random: np.random.Generator) -> np.ndarray:
    """Which groups (groups,) bool are drawn, so that together they have about `wanted` records."""
    chosen = np.zeros(len(sizes), dtype=bool)
    gap = wanted
    for group in random.permutation(len(sizes)):
        if sizes[group] <= gap:
            chosen[group] = True
            gap -= int(sizes[group])
    while gap:
        best = abs(gap), -1, -1
        # One group of each size stands for all of its size; none at all is a group of no records.
        outside = {0: -1} | {int(sizes[group]): int(group) for group in np.flatnonzero(~chosen)}
        inside = {0: -1} | {int(sizes[group]): int(group) for group in np.flatnonzero(chosen)}
        ordered = np.array(sorted(outside))
        for size, group in inside.items():
            for place in {max(0, place) for place in np.searchsorted(ordered, size + gap) - np.array([0, 1])}:
                if place < len(ordered):
                    left = abs(gap - int(ordered[place]) + size)
                    best = min(best, (left, group, outside[int(ordered[place])]))
        if best[0] >= abs(gap):
            break
        _, leaves, joins = best
        for group, joined in ((leaves, False), (joins, True)):
            if group >= 0:
                chosen[group] = joined
                gap += int(sizes[group]) * (1 if not joined else -1)
    return chosen


def by_time(column: str, times: Times, test_size: float, seed: int) -> Rows:
    """A split whose test records are the newest; equal times stay on one side. Both splits are shuffled.

    Args:
        column: The column's name, for the report and messages.
        times: The records' times.
        test_size: The part of the records that should become the test split.
        seed: The seed of the shuffle.

    Raises:
        DataError: If there are too few records, or too many have the same time for a split of about that size.
    """
    records = len(times.values)
    refuse_few(records, test_size)
    ordered = np.sort(times.values)
    wanted = records - math.ceil(records * test_size)
    cuts = [int(np.searchsorted(ordered, ordered[wanted], side)) for side in ("left", "right")]  # type: ignore[call-overload]
    cut = min(cuts, key=lambda cut: (not 0 < cut < records, abs(cut - wanted)))
    refuse_far(
        records - cut if cut else 0,
        records,
        test_size,
        f"{cuts[1] - cuts[0]:,} of {records:,} records with the {column} {times.text(ordered[wanted])}",
        f"name another --ingest.time_column (now {column})",
    )
    is_test = times.values >= ordered[cut]
    order = np.random.default_rng(seed).permutation(records)
    report = TimeSplit(column, times.text(ordered[cut - 1]), times.text(ordered[cut]))
    return Rows(order[~is_test[order]], order[is_test[order]], by_time=report)


def refuse_few(records: int, test_size: float) -> None:
    """Refuses a number of records that doesn't give both sides one.

    Raises:
        DataError: If it doesn't.
    """
    if min(records - 1, math.floor(records * (1 - test_size))) < 1:
        raise DataError(
            "a corpus must hold at least one record for each of train and test",
            received=f"{records} with test_size {test_size}",
            remedy="give more records, or another --ingest.test_size"
            if records > 1
            else "give more records (of JSON, an object a line, an array, or the list that --ingest.field names; of "
            "text, lines with --ingest.text_records line), or test records of their own with --ingest.test_path",
        )


def refuse_far(test: int, records: int, test_size: float, largest: str, other: str) -> None:
    """Refuses a split whose test part is less than half or more than twice of what it should be, or all there is.

    Args:
        test: The test records of the best split that was found.
        records: All records.
        test_size: The part that was asked for.
        largest: What makes it impossible.
        other: A way out.

    Raises:
        DataError: If it is so far off.
    """
    wanted = records * test_size
    if 0 < test < records and wanted / 2 <= test <= max(2 * wanted, 1):
        return
    nearest = f", or give the nearest possible --ingest.test_size {test / records:.3g}" if 0 < test < records else ""
    raise DataError(
        "the records must divide into train and test without parting those that belong together",
        received=f"{largest}, for a test_size of {test_size}",
        remedy=f"{other}{nearest}, or leave it out",
    )
