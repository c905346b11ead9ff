"""Reads the text of each record from one column or several, however nested, as a stream."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from components.blocks.column_choice import choose_column
from components.blocks.text_fields import descend, resolve_columns
from components.contract.artifacts import Corpus
from foundation.errors import DataError

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
