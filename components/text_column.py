"""The text of each record, read from one column, however nested, while the corpus streams by."""

import difflib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.artifacts import Corpus
from components.errors import DataError

SEPARATOR = " "
"""Stands between the texts of one record, as in Hugging Face's masked language modeling guide."""


class TextReader:
    """Streams the texts of a column: one a record, a list of texts joined by a blank.

    A column is named as `Dataset.flatten` names it (`answers.text`), whether `answers` is a struct of lists or
    a list of structs. Nulls inside a list are passed over. A record without text is skipped and counted.

    Arrow files are read record batch by record batch rather than memory-mapped, so that a process's resident
    memory doesn't grow with the pages of a large corpus.

    Attributes:
        records: Records read so far.
        skipped: Records without text so far, by reason: `null` (the column, something on its path or every text
            in its list is null) or `empty` (no text, or only white space).
        skipped_rows: The rows of such records so far, ascending.

    Args:
        corpus: Where to read.
        split: `train` or `test`.
        text_column: The column's name.

    Raises:
        DataError: If there is no such column, or it doesn't hold text.
    """

    def __init__(self, corpus: Corpus, split: str, text_column: str) -> None:
        dataset = corpus.split(split)
        self._split, self._text_column = split, text_column
        self._files = [file["filename"] for file in dataset.cache_files]
        self._table = dataset.data
        self._path = resolve(dataset.data.schema, text_column)
        self.records = 0
        self.skipped = {"null": 0, "empty": 0}
        self.skipped_rows: list[int] = []

    def batches(self, characters: int) -> Iterator[list[str]]:
        """The texts in the corpus's order, in lists of about so many characters, never splitting a text.

        Raises:
            DataError: At the end, if no record had text.
        """
        texts: list[str] = []
        length = 0
        for record_batch in self._record_batches():
            for text in self._texts(record_batch):
                texts.append(text)
                length += len(text)
                if length >= characters:
                    yield texts
                    texts, length = [], 0
        if texts:
            yield texts
        if self.records == sum(self.skipped.values()):
            raise DataError(
                f"the {self._split} split has at least one record with text in {self._text_column!r}",
                received=f"{self.records:,} records, of which {self.skipped['null']:,} null and "
                f"{self.skipped['empty']:,} empty",
                remedy="choose another column with --preprocess.text_column, or another corpus",
            )

    def rows_with_text(self) -> Iterator[int]:
        """The row of each text that `batches` yields, in order; to be asked for no more than were read so far."""
        skipped = 0
        for row in itertools.count():
            if skipped < len(self.skipped_rows) and self.skipped_rows[skipped] == row:
                skipped += 1
            else:
                yield row

    def _record_batches(self) -> Iterator[pa.RecordBatch]:
        if not self._files:  # HF_DATASETS_IN_MEMORY_MAX_SIZE makes `datasets` load small corpora whole
            yield from self._table.to_batches()
        for name in self._files:
            with pa.OSFile(name, "rb") as file, pa.ipc.open_stream(file) as reader:
                yield from reader

    def _texts(self, batch: pa.RecordBatch) -> Iterator[str]:
        """The texts of a record batch; counts its records and those that it skips."""
        values, records, null = descend(batch, self._path)
        # values (texts,), records (texts,): the record of each text, ascending; null (records,)
        items = values.to_pylist()
        bounds = np.searchsorted(records, np.arange(batch.num_rows + 1)).tolist()
        for record in range(batch.num_rows):
            start, end = bounds[record], bounds[record + 1]
            text = items[start] if end - start == 1 else SEPARATOR.join(items[start:end])
            self.records += 1
            if text and not text.isspace():
                yield text
            else:
                self.skipped["null" if start == end and null[record] else "empty"] += 1
                self.skipped_rows.append(self.records - 1)


def descend(batch: pa.RecordBatch, path: tuple[str, ...]) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """The texts at the end of a path through structs and lists, without nulls.

    Args:
        batch: Any number of records.
        path: The names of the column and of the struct fields below it.

    Returns:
        values: (texts,) large_string.
        records: (texts,) int64, the row of `batch` that each text belongs to, ascending.
        null: (rows,) bool, whether anything on the row's way to its texts was null.
    """
    values = batch.column(path[0])
    names = list(path[1:])
    records = np.arange(batch.num_rows)
    null = np.zeros(batch.num_rows, dtype=bool)
    while True:
        if values.null_count:
            null[records[values.is_null().to_numpy(zero_copy_only=False)]] = True
        if is_list(values.type):
            parents = pc.list_parent_indices(values).to_numpy(zero_copy_only=False)
            values, records = pc.list_flatten(values), records[parents]
        elif pa.types.is_struct(values.type):
            values = pc.struct_field(values, [names.pop(0)])
        else:
            break
    if values.null_count:
        valid = values.is_valid()
        values, records = values.filter(valid), records[valid.to_numpy(zero_copy_only=False)]
    return values.cast(pa.large_string()), records, null


def resolve(schema: pa.Schema, text_column: str) -> tuple[str, ...]:
    """The column and the fields below it that a dotted name stands for.

    Raises:
        DataError: If there is no such column, or it doesn't hold text.
    """
    found = find(list(schema), text_column)
    columns = text_columns(schema)
    nearest = difflib.get_close_matches(text_column, columns, n=1, cutoff=0.4)
    suggestion = nearest[0] if nearest else (columns[0] if columns else None)
    if suggestion is None:
        remedy = "give a corpus with a column of strings or of lists of strings"
    else:
        remedy = f"set --preprocess.text_column, for example to {suggestion} (columns with text: {', '.join(columns)})"
    if found is None:
        raise DataError("the text column is a column of the corpus", received=repr(text_column), remedy=remedy)
    path, kind = found
    if not is_text(kind):
        raise DataError(
            "the text column holds strings or lists of strings",
            received=f"{text_column!r} of type {kind}",
            remedy=remedy,
        )
    return path


def text_columns(schema: pa.Schema) -> list[str]:
    """The dotted names of all columns that hold strings or lists of strings."""
    return [name for field in schema for name in names_below(field) if not pa.types.is_null(leaf(field.type))]


def names_below(field: pa.Field) -> list[str]:
    """The dotted names of the text at or below a field."""
    kind = leaf(field.type)
    if pa.types.is_struct(kind):
        return [f"{field.name}.{name}" for child in kind for name in names_below(child)]
    return [field.name] if is_text(kind) else []


def find(fields: list[pa.Field], name: str) -> tuple[tuple[str, ...], pa.DataType] | None:
    """The path and type that a dotted name stands for; a field's own name may hold dots and goes first."""
    for field in sorted(fields, key=lambda field: len(field.name), reverse=True):
        if name == field.name:
            return (field.name,), field.type
        kind = leaf(field.type)
        if name.startswith(field.name + ".") and pa.types.is_struct(kind):
            below = find(list(kind), name[len(field.name) + 1 :])
            if below:
                return (field.name, *below[0]), below[1]
    return None


def leaf(kind: Any) -> pa.DataType:
    """A type without the lists around it."""
    while is_list(kind):
        kind = kind.value_type
    return kind


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text, or lists of it. A column of nothing but nulls has no type of its own: it passes."""
    kind = leaf(kind)
    return any(
        test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    )
