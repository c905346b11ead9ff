"""Reads the text of each record from one column or several, however nested, as a stream."""

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
MOST_NAMED = 12
"""How many columns a message names."""
PROSE_RECORDS, PROSE_CHARACTERS = 500, 2000
"""How many records are looked at, and how many characters of each text."""
SEPARATOR = " "
"""What joins the texts of one record, as in Hugging Face's masked language modeling guide."""


class TextReader:
    """Streams the texts of a column, one for each record; a list of texts, and several columns, are joined by blanks.

    A column is named as `Dataset.flatten` names it (`answers.text`), whether `answers` is a struct of lists or
    a list of structs. Nulls inside a list are left out. A record without text is skipped and counted.

    Arrow files are read record batch by record batch rather than memory-mapped, so that a process's resident
    memory doesn't grow with the pages of a large corpus.

    Attributes:
        records: The number of records read so far.
        skipped: The number of records without text so far, by reason: `null` (the column, something on its path or
            every text in its list is null) or `empty` (no text, or only white space).
        skipped_rows: The rows of these records, ascending.
        column: The column's name; of several, the names with commas between.

    Args:
        corpus: The corpus to read.
        split: `train` or `test`.
        text_column: The column's name, as `choose_column` takes it.
        streamed: The records to read, where the corpus keeps none of the split. They may be a part of the split: then
            it is no error if none has text.

    Raises:
        DataError: If there is no such column, or it doesn't hold text.

    Example:
        reader = TextReader(corpus, "train", "answers.text")
        for texts in reader.batches(characters=1 << 18):
            print(len(texts), "texts in", reader.records, "records so far")
    """

    def __init__(
        self, corpus: Corpus, split: str, text_column: str, streamed: Iterable[pa.RecordBatch] | None = None
    ) -> None:
        dataset = corpus.split(split) if streamed is None else corpus.columns()
        self._streamed = streamed
        self._split, self.column = split, choose_column(corpus, text_column)
        self._files = [file["filename"] for file in dataset.cache_files]
        self._table = dataset.data
        self._paths = resolve_columns(dataset.data.schema, self.column)
        self.records = 0
        self.skipped = {"null": 0, "empty": 0}
        self.skipped_rows: list[int] = []

    def batches(self, characters: int) -> Iterator[list[str]]:
        """The texts in the corpus' order, in lists of about so many characters. No text is split.

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
        if self._streamed is None:
            refuse_no_text(self._split, self.column, self.records, self.skipped)

    def rows_with_text(self) -> Iterator[int]:
        """The row of each text that `batches` yields, in order. Ask for no more rows than texts were read."""
        skipped = 0
        for row in itertools.count():
            if skipped < len(self.skipped_rows) and self.skipped_rows[skipped] == row:
                skipped += 1
            else:
                yield row

    def _record_batches(self) -> Iterator[pa.RecordBatch]:
        if self._streamed is not None:
            yield from self._streamed
            return
        if not self._files:  # HF_DATASETS_IN_MEMORY_MAX_SIZE makes `datasets` load small corpora whole
            yield from self._table.to_batches()
        for name in self._files:
            with pa.OSFile(name, "rb") as file, pa.ipc.open_stream(file) as reader:
                yield from reader

    def _texts(self, batch: pa.RecordBatch) -> Iterator[str]:
        """The texts of a record batch; counts its records and those that it skips."""
        for text in joined_texts(batch, self._paths):
            self.records += 1
            if text and not text.isspace():
                yield text
            else:
                self.skipped["null" if text is None else "empty"] += 1
                self.skipped_rows.append(self.records - 1)


def refuse_no_text(split: str, column: str, records: int, skipped: Mapping[str, int]) -> None:
    """Refuses a split in which no record has text.

    Args:
        split: `train` or `test`.
        column: The column that was read.
        records: The number of its records.
        skipped: The number of those without text, by reason.

    Raises:
        DataError: If it is so.
    """
    if records == sum(skipped.values()):
        raise DataError(
            f"the {split} split must have at least one record with text in {column!r}",
            received=f"{records:,} records, of which {skipped['null']:,} null and {skipped['empty']:,} empty",
            remedy="choose another column with --preprocess.text_column, or another corpus",
        )


def joined_texts(batch: pa.RecordBatch, paths: Sequence[tuple[str, ...]]) -> Iterator[str | None]:
    """The text of each record: the texts at the end of all paths, joined by blanks.

    Args:
        batch: Any number of records.
        paths: The columns, as `resolve_columns` finds them. Where some hold no text, the others are the record's.

    Yields:
        A record's text; None where something on every path is null and nothing is there.
    """
    columns = [texts_below(batch, path) for path in paths]
    if len(columns) == 1:
        yield from columns[0]
        return
    for texts in zip(*columns, strict=True):
        filled = [text for text in texts if text and not text.isspace()]
        yield SEPARATOR.join(filled) if filled else next((text for text in texts if text is not None), None)


def texts_below(batch: pa.RecordBatch, path: tuple[str, ...]) -> Iterator[str | None]:
    """The text of each record in one column, as `joined_texts` gives it."""
    values, records, null = descend(batch, path)
    # values (texts,), records (texts,): the record of each text, ascending; null (records,)
    items = values.to_pylist()
    bounds = np.searchsorted(records, np.arange(batch.num_rows + 1)).tolist()
    for record in range(batch.num_rows):
        start, end = bounds[record], bounds[record + 1]
        if start == end and null[record]:
            yield None
        else:
            yield items[start] if end - start == 1 else SEPARATOR.join(items[start:end])


def descend(batch: pa.RecordBatch, path: tuple[str, ...]) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """The texts at the end of a path through structs and lists, without nulls.

    Args:
        batch: Any number of records.
        path: The names of the column and of the struct fields below it.

    Returns:
        values: (texts,) large_string.
        records: (texts,) int64, the row of `batch` that each text belongs to, ascending.
        null: (rows,) bool, whether anything on the path from the row to its texts was null.
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


def refuse_no_column(schema: pa.Schema) -> NoReturn:
    """Refuses a corpus without text.

    Raises:
        DataError: Always. The message names the columns and their types.
    """
    found = ", ".join(f"{field.name} ({plain_name_of(field.type)})" for field in list(schema)[:MOST_NAMED])
    more = f" and {len(schema) - MOST_NAMED:,} more" if len(schema) > MOST_NAMED else ""
    raise DataError(
        "a corpus must have a column of text, or of lists of texts",
        received=f"{found}{more}" if found else "no columns",
        remedy="write the text as strings (bytes, for instance, decoded), or give other data with --ingest.path",
    )


def plain_name_of(kind: pa.DataType) -> str:
    """A type in words, without what is in it."""
    if pa.types.is_null(kind):
        return "nothing but nulls"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "bytes"
    return "objects" if pa.types.is_struct(kind) else "lists" if is_list(kind) else str(kind)


def names_in(schema: pa.Schema, names: str) -> list[str]:
    """The names in a text that has commas between them. A column's own name may hold commas; the longest counts."""
    parts = names.split(",")
    found = []
    while parts:
        ends = (end for end in range(len(parts), 0, -1) if find_field(list(schema), ",".join(parts[:end]).strip()))
        end = next(ends, 1)
        found.append(",".join(parts[:end]).strip())
        parts = parts[end:]
    return list(dict.fromkeys(found))


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


def by_prose(columns: list[str], letters: Mapping[str, float]) -> list[str]:
    """Columns with those first that have the most letters of prose."""
    return sorted(columns, key=lambda name: -letters.get(name, 0))


def resolve_columns(schema: pa.Schema, text_column: str) -> list[tuple[str, ...]]:
    """What `resolve_column` gives for each of the names, which have commas between."""
    return [resolve_column(schema, name) for name in names_in(schema, text_column)]


def resolve_column(schema: pa.Schema, text_column: str) -> tuple[str, ...]:
    """The column and the fields below it that a dotted name stands for.

    Raises:
        DataError: If there is no such column, or it doesn't hold text.
    """
    found = find_field(list(schema), text_column)
    if found is None or not is_text(found[1]):
        refuse_column(schema, text_column, {})
    return found[0]


def holds_text(schema: pa.Schema, name: str) -> bool:
    """Whether a dotted name is a column of text."""
    found = find_field(list(schema), name)
    return found is not None and is_text(found[1])


def refuse_column(schema: pa.Schema, text_column: str, letters: Mapping[str, float]) -> NoReturn:
    """Refuses a column that isn't there or doesn't hold text. The message names those that do.

    Args:
        schema: The corpus' schema.
        text_column: The column's name.
        letters: The letters of prose a record by column; the column with the most is the message's example.

    Raises:
        DataError: Always.
    """
    columns = by_prose(text_columns(schema), letters)
    if not columns:
        refuse_no_column(schema)
    nearest = difflib.get_close_matches(text_column, columns, n=1, cutoff=0.75)
    example = (nearest or columns)[0]
    remedy = f"set --preprocess.text_column, for example to {example} (columns with text: {', '.join(columns)})"
    if (found := find_field(list(schema), text_column)) is None:
        raise DataError("the text column must be a column of the corpus", received=repr(text_column), remedy=remedy)
    raise DataError(
        "the text column must hold strings or lists of strings",
        received=f"{text_column!r} of type {found[1]}",
        remedy=remedy,
    )


def text_columns(schema: pa.Schema) -> list[str]:
    """The dotted names of all columns that hold strings or lists of strings."""
    return [name for field in schema for name in names_below(field) if not pa.types.is_null(leaf(field.type))]


def names_below(field: pa.Field) -> list[str]:
    """The dotted names of the text at or below a field."""
    kind = leaf(field.type)
    if pa.types.is_struct(kind):
        return [f"{field.name}.{name}" for child in kind for name in names_below(child)]
    return [field.name] if is_text(kind) else []


def find_field(fields: list[pa.Field], name: str) -> tuple[tuple[str, ...], pa.DataType] | None:
    """The path and type that a dotted name stands for. Names of fields may hold dots; the longest that fits counts."""
    for field in sorted(fields, key=lambda field: len(field.name), reverse=True):
        if name == field.name:
            return (field.name,), field.type
        kind = leaf(field.type)
        if name.startswith(field.name + ".") and pa.types.is_struct(kind):
            below = find_field(list(kind), name[len(field.name) + 1 :])
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
    """Whether a type is text, or lists of text. The type of a column of nothing but nulls counts as text."""
    kind = leaf(kind)
    return any(
        test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    )
