"""How a text file is encoded, by its first bytes: a byte order mark, or the zeros of UTF-16.

A file without a byte order mark is read as UTF-8. Other encodings can't be recognized by their bytes (every file is
valid Latin-1), so a person must name them: `ingest.encoding`. Whatever is guessed here is reported.
"""

import codecs
from pathlib import Path
from typing import NamedTuple

from foundation.errors import ConfigError, DataError

HEAD_BYTES = 1 << 16
"""The number of bytes of a file that are looked at."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
OTHER_FORMATS = (
    (b"\x1f\x8b", "gzip data inside of compressed data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data inside of compressed data"),
    (b"\xfd7zXZ\0", "XZ data inside of compressed data"),
    (b"BZh", "bzip2 data inside of compressed data"),
    (b"PK\x03\x04", "a ZIP archive (Excel's and Word's files are such too)"),
    (b"\xd0\xcf\x11\xe0", "a file of an older Microsoft Office"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x9d", "data of the program compress (.Z)"),
    (b"\x04\x22\x4d\x18", "LZ4 data"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF-", "a PDF document"),
    (b"PAR1", "Parquet data"),
    (b"ARROW1", "Arrow data"),
    (b"SQLite format 3", "an SQLite database"),
)
"""The first bytes of files that are often named as if they were text."""
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How the text begins that Git leaves in the place of a large file where git-lfs isn't installed."""
NAMED = {"Parquet data": ".parquet", "Arrow data": ".arrow"}
"""The ending that a file of a format that can be read must have."""
TAR_PLACE = 257
"""The byte at which a tar archive says what it is."""
UNUSABLE = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
"""Python's encodings for other things than text files."""
ENOUGH_SEQUENCES = 8
"""This many multi-byte characters, all valid UTF-8, are no accident in a file whose named encoding has several bytes a
character; if it has one byte a character, a single one is no accident."""
FEWEST_ZEROS = 0.25
"""The smallest part of the characters that must be Latin for the zeros to show that a text is UTF-16."""


class Encoding(NamedTuple):
    """How a file's bytes become text.

    Attributes:
        name: Python's name of the encoding, for UTF-16 and UTF-32 with the byte order.
        mark: The length of the byte order mark, in bytes.
        note: A sentence about what was guessed; None where nothing was.
    """

    name: str
    mark: int = 0
    note: str | None = None


def canonical_encoding(given: str) -> str:
    """Python's name of an encoding.

    Raises:
        ConfigError: If there is no encoding of that name, or it isn't one for text.
    """
    try:
        found = codecs.lookup(given.strip())
        if found._is_text_encoding and found.name.replace("_", "-") not in UNUSABLE:
            return "utf-8" if found.name == "utf-8-sig" else found.name
    except (LookupError, ValueError):
        pass
    raise ConfigError(
        "ingest.encoding must be an encoding of text that Python knows",
        received=repr(given),
        remedy="give e.g. --ingest.encoding windows-1252, shift_jis, gb18030, koi8-r or utf-16-le; leave it out for "
        "UTF-8, and for what has a byte order mark",
    )


def encoding_of(path: Path, head: bytes, given: str | None) -> Encoding:
    """How a file is encoded.

    A byte order mark decides. Without one, a file is in the given encoding, else in UTF-16 if it has zeros in every
    second place, else in UTF-8.

    Args:
        path: The file, for messages.
        head: The file's first `HEAD_BYTES`, decompressed.
        given: `ingest.encoding`.

    Raises:
        DataError: If the file holds no text, or its bytes contradict the given encoding.
    """
    for mark, name in MARKS:
        if head.startswith(mark):
            return Encoding(name, len(mark))
    refuse_other_formats(path, head)
    by_zeros = utf16_by_zeros(head)
    if given is None:
        return Encoding(by_zeros, 0, guess_note(path, by_zeros)) if by_zeros else Encoding("utf-8")
    name = canonical_encoding(given)
    if name in ("utf-16", "utf-32"):
        if by_zeros and name == "utf-16":
            return Encoding(by_zeros, 0, guess_note(path, by_zeros))
        raise DataError(
            f"a file in {name.upper()} must begin with a byte order mark, or ingest.encoding name its byte order",
            received=f"{path} without a mark",
            remedy=f"give --ingest.encoding {name}-le or {name}-be",
        )
    if by_zeros and name != by_zeros:
        raise DataError(
            "ingest.encoding must be the encoding of every file without a byte order mark",
            received=f"{path}, whose zeros in every second place are {by_zeros.upper()}'s, for {given}",
            remedy=f"give --ingest.encoding {by_zeros}, or leave it out",
        )
    # By accident, text with a byte a character is hardly ever valid UTF-8.
    one_byte = is_single_byte(name)
    if name != "utf-8" and utf8_sequences(head, damaged=one_byte) >= (1 if one_byte else ENOUGH_SEQUENCES):
        return Encoding("utf-8", 0, f"{path.name} is UTF-8, not {given} as ingest.encoding says, and was read as such")
    return Encoding(name)


def text_of(head: bytes, encoding: Encoding) -> str:
    """The text of a file's first bytes, with U+FFFD for what isn't in its encoding."""
    return codecs.getincrementaldecoder(encoding.name)("replace").decode(head[encoding.mark :])


def guess_note(path: Path, name: str) -> str:
    """The sentence that reports that a file was taken for UTF-16."""
    return f"{path.name} was read as {name.upper()}: it has no byte order mark, but zeros in every second place"


def utf16_by_zeros(head: bytes) -> str | None:
    """UTF-16 with its byte order, for bytes without a mark with enough Latin characters; None for other bytes."""
    even, odd, pairs = head[0::2].count(0), head[1::2].count(0), len(head) // 2
    if min(even, odd) or max(even, odd) < max(2, FEWEST_ZEROS * pairs):
        return None
    name = "utf-16-le" if odd else "utf-16-be"
    try:
        codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return None
    return name


def is_single_byte(name: str) -> bool:
    """Whether an encoding has one byte a character."""
    return len(bytes(range(256)).decode(name, "replace")) == 256


def utf8_sequences(head: bytes, *, damaged: bool) -> int:
    """The number of characters beyond ASCII in bytes that are UTF-8; 0 for other bytes.

    Args:
        head: The bytes.
        damaged: Whether they are UTF-8 also if one of `ENOUGH_SEQUENCES` such characters is wrong.
    """
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(head)
    wrong = text.count("\ufffd")
    found = sum(character > "\x7f" for character in text) - wrong
    return found if found >= wrong * (ENOUGH_SEQUENCES if damaged else len(head) + 1) else 0


def refuse_other_formats(path: Path, head: bytes) -> None:
    """Refuses a file that isn't text, whatever its name says.

    Raises:
        DataError: If it isn't text. The message says what it is.
    """
    if head[TAR_PLACE:].startswith(b"ustar"):
        raise DataError(
            "a file of JSON, CSV or text must hold text, as it is or compressed once",
            received=f"{path}: a tar archive",
            remedy="unpack it (tar -xf), and give the directory with --ingest.path",
        )
    if head.startswith(LFS_POINTER):
        raise without_content(path)
    for start, what in OTHER_FORMATS:
        if head.startswith(start) and (b"\0" in head or not is_utf8(head)):
            raise DataError(
                "a file of JSON, CSV or text must hold text, as it is or compressed once",
                received=f"{path}: {what}",
                remedy=f"rename it so that it ends in {NAMED[what]}"
                if what in NAMED
                else "unpack it, or save it as CSV or text, and give that with --ingest.path",
            )


def without_content(path: Path) -> DataError:
    """The error for a file in whose place Git left a pointer."""
    return DataError(
        "a source file must hold the records",
        received=f"{path}, which is a pointer of Git LFS",
        remedy=f"install git-lfs and run git -C {path.parent} lfs pull, or download the file again",
    )


def is_utf8(head: bytes) -> bool:
    """Whether the first bytes of a file are UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True
