"""Counts over the texts of a column, by NumPy where they are small, and keys that tell equal texts."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contract.reports import ColumnCounts
from components.sources import text_arrays
from components.sources.text_arrays import KEY_BYTES, Texts

if TYPE_CHECKING:
    import pyarrow

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


class Digests:
    """A key of 16 bytes for each record, so that a million records take 16 MB.

    A short text is its own key, with its length; of a long one it is the digest.
    """

    def __init__(self) -> None:
        self.content = bytearray()

    def add(self, text: str) -> None:
        """Adds the key of a text."""
        if len(text) <= max(SLICE_CHARACTERS, KEY_BYTES):
            self.content += text_arrays.key(text.encode("utf-8", "surrogatepass"))
            return
        digest = hashlib.blake2b(digest_size=KEY_BYTES)
        for piece in slices(text):
            digest.update(piece.encode("utf-8", "surrogatepass"))
        self.content += digest.digest()

    def add_keys(self, keys: np.ndarray) -> None:
        """Adds keys (texts, `KEY_BYTES`)."""
        self.content += keys.tobytes()

    def keys(self) -> np.ndarray:
        """The keys (texts, `KEY_BYTES`)."""
        return np.frombuffer(bytes(self.content), np.uint8).reshape(-1, KEY_BYTES)

    def array(self) -> "pyarrow.Array":
        """The keys, (records,) of 16 bytes each."""
        import pyarrow

        count = len(self.content) // KEY_BYTES
        return pyarrow.Array.from_buffers(
            pyarrow.binary(KEY_BYTES), count, [None, pyarrow.py_buffer(bytes(self.content))]
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

    def add_texts(self, array: "pyarrow.Array") -> np.ndarray:
        """Counts the values of some records.

        Args:
            array: (records,) strings, of which all together are small.

        Returns:
            The key of each record's value (records, `KEY_BYTES`).
        """
        texts = Texts.of(array.drop_null() if array.null_count else array)
        counts, keys = text_arrays.count(texts), text_arrays.keys(texts)
        self.rows += len(array)
        self.null += array.null_count
        self.empty += len(counts.filled) - int(counts.filled.sum())
        self.zeros += counts.zeros
        self.characters += counts.characters
        self.words += counts.words
        self.digests.add_keys(keys if counts.filled.all() else keys[counts.filled])
        if not array.null_count:
            return keys
        all_keys = np.tile(text_arrays.NO_TEXT, (len(array), 1))
        all_keys[array.is_valid().to_numpy(zero_copy_only=False)] = keys
        return all_keys

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


def keys_of_values(values: list[Any], are_strings: bool) -> np.ndarray:
    """The keys (values, `KEY_BYTES`) of a column's values, one by one: those of texts are what `add_texts` gives."""
    found = Digests()
    for value in values:
        if not are_strings:
            # repr, unlike JSON, has a text for every value that Arrow gives: dates, bytes, NaN.
            found.add(repr(value))
        elif value is None:
            found.add_keys(text_arrays.NO_TEXT)
        else:
            found.add(value)
    return found.keys()
