"""Opens files that are compressed, by their first bytes and whatever their names: gzip, bzip2, XZ, Zstandard, ZIP."""

import bz2
import contextlib
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from foundation.errors import DataError
from foundation.terminal import TERMINAL

HEAD_BYTES = 10
KINDS = (
    (rb"\x1f\x8b", "gzip"),
    (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", "bzip2"),
    (rb"\xfd7zXZ\x00", "XZ"),
    (rb"\x28\xb5\x2f\xfd", "Zstandard"),
)
"""How compressed data begins. A text file can begin with `BZh9`, but not with what follows in bzip2."""
ENDINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "XZ", ".zst": "Zstandard", ".zip": "ZIP"}
"""What may follow a file's ending, and how it is compressed then."""
ZIP_START = b"PK\x03\x04"


def compression_of(path: Path) -> str | None:
    """How a file is compressed; None where it isn't. A ZIP archive counts only where the file is named so.

    Raises:
        OSError: If it can't be read.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(ZIP_START) and path.suffix.lower() == ".zip":
        return "ZIP"
    return next((kind for start, kind in KINDS if re.match(start, head)), None)


def named_compression(path: Path) -> str | None:
    """How a file should be compressed by its name."""
    return ENDINGS.get(path.suffix.lower())


def plain_name(path: Path) -> str:
    """A file's name without what says how it is compressed; of a ZIP archive, the name of the one file in it.

    The name of an archive that can't be read, or that holds none or several files, is its own.
    """
    kind = named_compression(path)
    if kind == "ZIP":
        with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            names = members(archive)
            return PurePosixPath(names[0]).name if len(names) == 1 else path.name
    return path.stem if kind else path.name


def members(archive: zipfile.ZipFile) -> list[str]:
    """The files in an archive, but for those that systems add for themselves."""
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    return [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)]


@contextlib.contextmanager
def decompressed(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for reading bytes, decompressed where it is compressed.

    Raises:
        OSError: If it can't be opened or read.
        DataError: If its compressed data is damaged, or an archive doesn't hold exactly one file.
    """
    kind = compression_of(path)
    if kind is None:
        with open(path, "rb") as file, TERMINAL.following(path, file):
            yield file
        return
    try:
        with open(path, "rb") as file, TERMINAL.following(path, file), _opened(path, file, kind) as stream:
            yield stream
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(
            f"a {kind} file must hold complete {kind} data",
            received=f"{path}: {error}",
            remedy="download or compress it anew",
        ) from error


@contextlib.contextmanager
def _opened(path: Path, file: BinaryIO, kind: str) -> Iterator[BinaryIO]:
    with contextlib.ExitStack() as stack:
        if kind == "ZIP":
            archive = stack.enter_context(zipfile.ZipFile(file))
            names = members(archive)
            if len(names) != 1:
                raise DataError(
                    "a .zip file must hold exactly one file",
                    received=f"{path}, which holds {len(names):,}",
                    remedy="unpack it, and give the directory with --ingest.path",
                )
            yield cast(BinaryIO, stack.enter_context(archive.open(names[0])))
        elif kind == "Zstandard":
            import pyarrow

            yield cast(BinaryIO, stack.enter_context(pyarrow.input_stream(str(path), compression="zstd")))
        else:
            openers: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "XZ": lzma.open}
            yield stack.enter_context(openers[kind](file))
