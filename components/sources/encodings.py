"""How a text file is packed and encoded, from its first bytes: gzip, a byte order mark, or zeros that tell UTF-16.

UTF-8 is what a file without a byte order mark is taken for. Of other encodings the bytes don't tell the name (every
file is valid Latin-1), so that a person has to: `ingest.encoding`. Nothing here guesses without saying so.
"""

import codecs
from pathlib import Path
from typing import NamedTuple

from foundation.errors import ConfigError, DataError

HEAD_BYTES = 1 << 16
"""So much of a file is looked at."""
GZIP = b"\x1f\x8b"
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
NO_TEXT = (
    (GZIP, "gzip data inside of gzip data"),
    (b"PK\x03\x04", "a ZIP archive (Excel's and Word's files are such too)"),
    (b"\xd0\xcf\x11\xe0", "a file of an older Microsoft Office"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"\xfd7zXZ\0", "XZ data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"BZh", "bzip2 data"),
    (b"%PDF-", "a PDF document"),
    (b"PAR1", "Parquet data"),
    (b"ARROW1", "Arrow data"),
    (b"SQLite format 3", "an SQLite database"),
)
"""What files begin with that are often given another ending, or one too few."""
UNUSABLE = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
"""Encodings of Python's for other things than files of text."""
ENOUGH_SEQUENCES = 8
"""So many characters of several bytes that are all valid UTF-8 don't come about by chance where another encoding has
several bytes a character too; of one with a byte a character, one is enough."""
FEWEST_ZEROS = 0.25
"""The part of a UTF-16 text's characters that are Latin, at least, where zeros shall tell that it is one."""


class Encoding(NamedTuple):
    """How a file's bytes become text.

    Attributes:
        name: Python's name of the encoding; UTF-16 and UTF-32 with their byte order.
        mark: The length of the byte order mark, in bytes.
        note: What a person should know about it, a sentence; None where nothing was guessed.
    """

    name: str
    mark: int = 0
    note: str | None = None


def canonical_encoding(given: str) -> str:
    """Python's name of an encoding.

    Raises:
        ConfigError: If there is none of that name, or it isn't one of text.
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

    A byte order mark goes before everything. Without one, a file is in the given encoding, else in UTF-16 where zeros
    in every second place tell it, else in UTF-8.

    Args:
        path: For messages.
        head: The file's first `HEAD_BYTES`, unpacked.
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
        return Encoding(by_zeros, 0, told_by_zeros(path, by_zeros)) if by_zeros else Encoding("utf-8")
    name = canonical_encoding(given)
    if name in ("utf-16", "utf-32"):
        if by_zeros and name == "utf-16":
            return Encoding(by_zeros, 0, told_by_zeros(path, by_zeros))
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
    if name != "utf-8" and utf8_sequences(head) >= (1 if is_single_byte(name) else ENOUGH_SEQUENCES):
        return Encoding("utf-8", 0, f"{path.name} is UTF-8, not {given} as ingest.encoding says, and was read as such")
    return Encoding(name)


def told_by_zeros(path: Path, name: str) -> str:
    """The sentence for a guess."""
    return f"{path.name} was read as {name.upper()}: it has no byte order mark, but zeros in every second place"


def utf16_by_zeros(head: bytes) -> str | None:
    """The byte order of UTF-16 without a mark, where enough of its characters are Latin; None for other bytes."""
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


def utf8_sequences(head: bytes) -> int:
    """How many characters beyond ASCII some bytes hold as UTF-8; 0 where they aren't UTF-8."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return 0
    return sum(character > "\x7f" for character in text)


def refuse_other_formats(path: Path, head: bytes) -> None:
    """Refuses a file that is none of text, whatever its name says.

    Raises:
        DataError: Naming what it is.
    """
    for start, what in NO_TEXT:
        if head.startswith(start) and (b"\0" in head or not is_utf8(head)):
            raise DataError(
                "a .jsonl, .json, .csv or .txt file must hold text, as it is or compressed by gzip once",
                received=f"{path}: {what}",
                remedy="unpack it, or save it as text, and give that with --ingest.path",
            )


def is_utf8(head: bytes) -> bool:
    """Whether the first bytes of a file are UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True
