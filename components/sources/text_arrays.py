"""Counts words and makes keys of texts in Arrow's arrays, by NumPy: as Python's strings count them, and sooner."""

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pyarrow

KEY_BYTES = 16
NO_TEXT = np.array([0] * (KEY_BYTES - 1) + [255], np.uint8)
"""The key of a null: the last byte is where short texts have their length."""
LEADS_OF_SPACES = (0xC2, 0xE1, 0xE2, 0xE3)
"""The first bytes in UTF-8 of white space that isn't ASCII."""
LONG_SPACES = np.array(
    [
        int.from_bytes(character.encode(), "big")
        for character in "\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
    ],
    np.uint32,
)
"""White space that isn't ASCII: the bytes of each as one number."""


class Texts(NamedTuple):
    """The texts of an array without nulls.

    Attributes:
        data: (bytes,) uint8, their UTF-8, one after the other.
        offsets: (texts + 1,) int64, where each begins in it, and where the last ends.
    """

    data: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, array: "pyarrow.Array") -> "Texts":
        """The texts of an array of strings without nulls.

        Args:
            array: Of type string or large_string.
        """
        import pyarrow

        kind = np.dtype(np.int64 if pyarrow.types.is_large_string(array.type) else np.int32)
        _, places, data = array.buffers()
        if not len(array) or places is None:
            return cls(np.empty(0, np.uint8), np.zeros(1, np.int64))
        offsets = np.frombuffer(places, kind, len(array) + 1, array.offset * kind.itemsize).astype(np.int64)
        size = int(offsets[-1] - offsets[0])
        content = np.frombuffer(data, np.uint8, size, int(offsets[0])) if size else np.empty(0, np.uint8)
        return cls(content, offsets - offsets[0])

    @property
    def lengths(self) -> np.ndarray:
        """The bytes of each text (texts,)."""
        return np.diff(self.offsets)

    def text(self, number: int) -> str:
        """One of the texts."""
        return self.data[self.offsets[number] : self.offsets[number + 1]].tobytes().decode()


class WordCounts(NamedTuple):
    """What texts have together.

    Attributes:
        filled: (texts,) bool, whether a text has any word.
        characters: The characters of the texts that have words.
        words: Their words, as `str.split` gives them.
        zeros: How many texts have zero characters.
    """

    filled: np.ndarray
    characters: int
    words: int
    zeros: int


def count(texts: Texts) -> WordCounts:
    """Counts over texts."""
    data, offsets = texts.data, texts.offsets
    filled = texts.lengths > 0
    if not len(data):
        return WordCounts(filled, 0, 0, 0)
    inside = ~is_space(data)
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    starts = offsets[:-1][filled]
    begins[starts] = inside[starts]
    characters = int(np.count_nonzero(data.view(np.int8) >= -64))  # all bytes but those that continue a character
    for number in np.flatnonzero(filled)[~inside[starts]]:  # those that begin with white space
        text = texts.text(number)
        if text.isspace():
            filled[number] = False
            characters -= len(text)
    owners = np.searchsorted(offsets, np.flatnonzero(data == 0), side="right")
    return WordCounts(filled, characters, int(np.count_nonzero(begins)), len(np.unique(owners)))


def is_space(data: np.ndarray) -> np.ndarray:
    """Which bytes (bytes,) of UTF-8 belong to white space, as `str.isspace` has it."""
    spaces = data == 32
    spaces |= (data - np.uint8(9)) <= 4  # wraps around below
    spaces |= (data - np.uint8(28)) <= 3
    if data.max() < LEADS_OF_SPACES[0]:
        return spaces
    leads = data == LEADS_OF_SPACES[0]
    for lead in LEADS_OF_SPACES[1:]:
        leads |= data == lead
    at = np.flatnonzero(leads)
    first, second, third = (data.take(at + more, mode="clip").astype(np.uint32) for more in range(3))
    is_pair = first == LEADS_OF_SPACES[0]
    codes = np.where(is_pair, first << 8 | second, first << 16 | second << 8 | third)
    found = np.isin(codes, LONG_SPACES)
    for more in range(2):
        spaces[at[found] + more] = True
    spaces[at[found & ~is_pair] + 2] = True
    return spaces


def key(data: bytes) -> bytes:
    """A text's key of `KEY_BYTES`: a short text itself with its length, or a long one's digest."""
    if len(data) < KEY_BYTES:
        return data.ljust(KEY_BYTES - 1, b"\0") + bytes([len(data)])
    return hashlib.blake2b(data, digest_size=KEY_BYTES).digest()


def keys(texts: Texts) -> np.ndarray:
    """The key of each text (texts, `KEY_BYTES`), uint8."""
    lengths, data = texts.lengths, texts.data
    found = np.zeros((len(lengths), KEY_BYTES), np.uint8)
    is_short = lengths < KEY_BYTES
    if len(data) and is_short.any():
        column = np.arange(KEY_BYTES - 1)
        windows = data.take(texts.offsets[:-1][is_short, None] + column, mode="clip")
        found[is_short, :-1] = np.where(column < lengths[is_short, None], windows, 0)
    found[is_short, -1] = lengths[is_short]
    numbers = np.flatnonzero(~is_short)
    view, digest = np.ascontiguousarray(data).data, hashlib.blake2b
    starts, ends = texts.offsets[numbers].tolist(), texts.offsets[numbers + 1].tolist()
    digests = b"".join(
        [digest(view[start:end], digest_size=KEY_BYTES).digest() for start, end in zip(starts, ends, strict=True)]
    )
    found[numbers] = np.frombuffer(digests, np.uint8).reshape(-1, KEY_BYTES)
    return found


def keys_of_numbers(array: "pyarrow.Array") -> np.ndarray:
    """The key of each number or truth value (values, 9), uint8: its bytes, and whether it is null.

    Numbers have the same key where Python writes them alike: each NaN is NaN, but 0.0 isn't -0.0.
    """
    from pyarrow import types

    values = array.fill_null(False if types.is_boolean(array.type) else 0) if array.null_count else array
    numbers = values.to_numpy(zero_copy_only=False)
    if types.is_floating(array.type):
        numbers = numbers.astype(np.float64)
        numbers[np.isnan(numbers)] = np.nan
    else:
        numbers = numbers.astype(np.uint64 if types.is_unsigned_integer(array.type) else np.int64)
    is_null = array.is_null().to_numpy(zero_copy_only=False)
    return np.concatenate([numbers.view(np.uint8).reshape(-1, 8), is_null.view(np.uint8)[:, None]], axis=1)
