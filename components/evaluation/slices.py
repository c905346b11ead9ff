"""Slices: parts of the masked tokens that are looked at on their own."""

import collections
import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from foundation.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

    from components.evaluation.questions import Questions
    from components.evaluation.training_split import TrainSplit

LENGTHS = (32, 128, 512)
"""Tokens of a record up to which a slice goes."""
FREQUENCIES = (10, 100, 1000)
"""Occurrences in the train split from which the next slice begins."""
MOST_VALUES = 20
"""Of a column; the rest, the rarer ones, are one slice."""
OTHERS = "(others)"
MISSING = "(none)"


@dataclasses.dataclass(frozen=True)
class Slice:
    """Some of the masked tokens.

    Attributes:
        group: What the slices of a group differ in.
        name: What these have in common.
        chosen: (masked tokens,) bool.
    """

    group: str
    name: str
    chosen: np.ndarray


def every_slice(questions: "Questions", train_split: "TrainSplit", ngram: int) -> Iterator[Slice]:
    """The slices that every evaluation has.

    Args:
        questions: What is sliced.
        train_split: How frequent tokens are there, and which test blocks share a run with it.
        ngram: Tokens a shared run.
    """
    masks = questions.masks
    yield from by_record_length(questions.records.tokens[questions.record])
    yield from by_frequency(train_split.unigram.counts[masks.label])
    yield from by_contamination(train_split.contaminated[masks.block], ngram)


def by_record_length(tokens: np.ndarray) -> Iterator[Slice]:
    """By the length (masked tokens,) in tokens of the record that each masked token is in."""
    low = 0
    for high in (*LENGTHS, None):
        chosen = (tokens > low) & (True if high is None else tokens <= high)
        name = f"over {low:,} tokens" if high is None else f"{low + 1:,} to {high:,} tokens"
        yield Slice("record length", name, chosen)
        low = high or low


def by_frequency(counts: np.ndarray) -> Iterator[Slice]:
    """By how often (masked tokens,) the true token stands in the train split."""
    low = 0
    for high in (*FREQUENCIES, None):
        chosen = (counts >= low) & (True if high is None else counts < high)
        name = f"{low:,} times or more" if high is None else f"{low:,} to {high - 1:,} times"
        yield Slice("occurrences of the masked token in train", name, chosen)
        low = high or low


def by_contamination(contaminated: np.ndarray, ngram: int) -> Iterator[Slice]:
    """By whether the masked token's block (masked tokens,) shares a run of tokens with the train split."""
    group = f"blocks by runs of {ngram} tokens shared with train"
    yield Slice(group, "no such run", ~contaminated)
    yield Slice(group, "at least one", contaminated)


def by_column(split: "Dataset", column: str, row: np.ndarray) -> Iterator[Slice]:
    """By a column's value in the record that each masked token is in; the most frequent values, then the others.

    Args:
        split: The records.
        column: A column of text, numbers or truth values; dots lead into nested records.
        row: (masked tokens,) the record's row.

    Raises:
        DataError: If there is no such column, or it holds lists.
    """
    values = column_values(split, column)
    common = [value for value, _ in collections.Counter(values).most_common(MOST_VALUES)]
    number = {value: place for place, value in enumerate(common)}
    codes = np.array([number.get(value, len(common)) for value in values])[row]  # (masked tokens,)
    names = [*common, OTHERS] if len(set(values)) > len(common) else common
    for place, name in enumerate(names):
        yield Slice(column, name, codes == place)


def column_values(split: "Dataset", column: str) -> list[str]:
    """A column's values as text, `MISSING` for null.

    Raises:
        DataError: If there is no such column, or it holds lists.
    """
    require_slice_column(split, column)
    values: Sequence[Any] = split.flatten().with_format("arrow")[:][column].to_pylist()
    return [MISSING if value is None else str(value) for value in values]


def require_slice_column(split: "Dataset", column: str) -> None:
    """Refuses a column that records can't be told apart by.

    Raises:
        DataError: If there is no such column, or it holds lists.
    """
    flat = split.flatten()
    plain = plain_columns(flat)
    nearest = difflib.get_close_matches(column, plain, n=1)
    example = (
        f", for example to {(nearest or plain)[0]} (such columns of those read: {', '.join(plain)})" if plain else ""
    )
    remedy = f"set --evaluate.slice_column{example}, or leave it out"
    if column not in flat.column_names:
        raise DataError("evaluate.slice_column must be a column of the corpus", received=repr(column), remedy=remedy)
    if column not in plain:
        raise DataError(
            "evaluate.slice_column must hold one value a record",
            received=f"{column!r}, which holds lists",
            remedy=remedy,
        )


def plain_columns(flat: "Dataset") -> list[str]:
    """The columns of flattened records that hold one value a record."""
    import pyarrow

    nested = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    schema = flat.features.arrow_schema
    return [field.name for field in schema if not any(test(field.type) for test in nested)]
