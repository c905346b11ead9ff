"""Chooses the column that is read: the one that is named, or where that may be another, the one with the most prose."""

import re
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from components.blocks.text_fields import (
    by_prose,
    descend,
    find_field,
    holds_text,
    names_in,
    refuse_column,
    refuse_no_column,
    resolve_column,
    text_columns,
)
from components.contract.artifacts import Corpus
from foundation.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

NO_WORD = re.compile(r"^[!-~]*(://|www\.|[@_/\\0-9])[!-~]*$")
"""What is no word although it is between blanks: an address, a path, a date, a number, an identifier, all in ASCII."""
PROSE_LETTERS = 20
"""A column with so many letters a record holds prose rather than names or labels."""
LEAST_SHARE = 0.5
"""The preferred column is read where it has at least so many of the letters of the column with the most prose."""
PROSE_RECORDS, PROSE_CHARACTERS = 500, 2000
"""How many records are looked at, and how many characters of each text."""


def choose_column(corpus: Corpus, text_column: str) -> str:
    """The column of a corpus to read, as `choose_column_of` finds it in the train split, or in test if that streams."""
    return choose_column_of(corpus.columns(), text_column)


def choose_column_of(dataset: "Dataset", text_column: str) -> str:
    """The column to read: the named one, or, if the name ends in `?`, another, by what they hold.

    The named one is read if it has no less than half of the letters of the column with the most prose. The other one is
    the only column that holds text, else `text`, else the only column that holds prose (rather than names, numbers or
    addresses).

    Args:
        dataset: The records.
        text_column: A column's dotted name, or several with commas between, with a question mark at the end where
            another may be read.

    Raises:
        DataError: If there is no such column, it doesn't hold text, or several others could be meant.
    """
    schema, name = dataset.data.schema, text_column.removesuffix("?")
    if find_field(list(schema), text_column):
        name = text_column
    elif name != text_column:
        return column_by_prose(dataset, name)
    for one in names_in(schema, name):
        if not holds_text(schema, one):
            refuse_column(schema, one, letters_of_prose(dataset, text_columns(schema)))
    return name


def column_by_prose(dataset: "Dataset", preferred: str) -> str:
    """The column to read where it may be another than the preferred one.

    Args:
        dataset: The records.
        preferred: A column's dotted name, or several with commas between.

    Raises:
        DataError: If no column holds text, or several could be meant.
    """
    schema = dataset.data.schema
    columns = text_columns(schema)
    if not columns:
        refuse_no_column(schema)
    if columns == [preferred]:
        return preferred
    letters = letters_of_prose(dataset, columns)
    columns = by_prose(columns, letters)
    named = names_in(schema, preferred)
    # As in SQuAD, whose answers are a few words of the context.
    if set(named) <= set(columns) and sum(letters[one] for one in named) >= LEAST_SHARE * letters[columns[0]]:
        return preferred
    if len(columns) == 1:
        return columns[0]
    with_prose = [column for column in columns if letters[column] >= PROSE_LETTERS]
    if letters.get("text") or len(with_prose) == 1:
        return "text" if letters.get("text") else with_prose[0]
    pair = [column for column in text_columns(schema) if column in columns[:2]]
    both = f", or to {','.join(pair)} for both" if len(with_prose) > 1 else ""
    absent = "" if set(named) <= set(columns) else f" (and no {preferred})"
    raise DataError(
        "the text column must be named where several columns hold text",
        received=f"{', '.join(columns)}{absent}",
        remedy=f"set --preprocess.text_column, for example to {columns[0]}{both}",
    )


def letters_of_prose(dataset: "Dataset", columns: list[str]) -> dict[str, float]:
    """How many letters of prose a record has in each column, on average over the first records.

    Words that are addresses, paths, dates, numbers or identifiers don't count.
    """
    rows = min(len(dataset), PROSE_RECORDS)
    table = dataset.with_format("arrow")[:rows]
    letters = {}
    for column in columns:
        path = resolve_column(table.schema, column)
        texts = [pc.utf8_slice_codeunits(descend(batch, path)[0], 0, PROSE_CHARACTERS) for batch in table.to_batches()]
        words = (word for values in texts for text in values.to_pylist() for word in text.split())
        letters[column] = sum(sum(map(str.isalpha, word)) for word in words if not NO_WORD.search(word)) / max(1, rows)
    return letters
