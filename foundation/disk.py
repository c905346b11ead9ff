"""The disk: putting files on it for sure, temporary ones, asking whether it has room, and the error when it is full."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from foundation.errors import ConfigError, PipelineError

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_TEXTS = tuple(os.strerror(number) for number in FULL)
"""Libraries in C++ or Rust pass on the system's message without its number."""
REFUSING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)
"""The disk, or the rights on it, don't let a file be read or written."""


def flush(path: Path) -> None:
    """Waits until a file, or the entries of a directory, are on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(directory: Path) -> None:
    """Waits until a directory and all that is below it are on the disk itself."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            if path.is_file():
                flush(path)
        flush(Path(folder))


def make_directory(directory: Path) -> None:
    """Makes a directory and those of its parents that are missing, each on the disk itself before the one below it."""
    missing = [path for path in (directory, *directory.parents) if not path.is_dir()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        flush(path.parent)


def require_working_directory() -> None:
    """Refuses to work in a directory that was removed: no relative path means anything there.

    Raises:
        ConfigError: If so.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError(
            "the working directory must exist",
            received=f"one that was removed ({error.strerror})",
            remedy="change to another directory and run the same command there",
        ) from error


@contextlib.contextmanager
def temporary_files_in(directory: Path) -> Iterator[None]:
    """Has this process, its libraries and its children keep their temporary files in a directory, removed at the end.

    What a process that is killed leaves is then in a place that is known: TensorFlow alone leaves dozens of files.

    Args:
        directory: Made here; its parent exists.
    """
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    directory.mkdir()
    tempfile.tempdir = os.environ["TMPDIR"] = os.fspath(directory)
    try:
        yield
    finally:
        tempfile.tempdir = before
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable
        shutil.rmtree(directory, ignore_errors=True)


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, is that of a full disk or an exhausted quota."""
    return _is_caused_by(error, FULL)


def is_refusing(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, is that of a disk or of rights that don't let a file be used."""
    return _is_caused_by(error, REFUSING)


def _is_caused_by(error: BaseException | None, numbers: Collection[int]) -> bool:
    texts = [os.strerror(number) for number in numbers]
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if getattr(error, "errno", None) in numbers or any(text in str(error) for text in texts):
            return True
        error = error.__cause__ or error.__context__
    return False


def free_bytes(directory: Path) -> int | None:
    """Bytes free for us on the disk of a directory, or of its nearest parent that exists; None if unknown."""
    for path in (directory, *directory.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(path).free
    return None


def free_space(directory: Path) -> str:
    """How much is free on the disk of a directory, as a clause."""
    free = free_bytes(directory)
    return "an unknown number of bytes is free" if free is None else f"{free:,} bytes are free"


def full_disk(error: BaseException, directory: Path, what: str, remedy: str) -> PipelineError:
    """The error of a disk that filled up.

    Args:
        error: What a library raised.
        directory: What was being written to, unless the error names a file.
        what: What was happening, as a clause that follows "while".
        remedy: What to do besides making room.
    """
    named = getattr(error, "filename", None)
    place = Path(os.fsdecode(named)) if isinstance(named, (str, bytes)) else directory
    reason = next((text for text in FULL_TEXTS if text in str(error)), os.strerror(errno.ENOSPC))
    return PipelineError(
        "the disk must have room for what is written",
        received=f"{reason} while {what}; {free_space(place)} on the disk of {place}",
        remedy=f"free space there, or raise the quota; {remedy}",
    )


def require_room(directory: Path, size: int, what: str) -> None:
    """Refuses to go on where a disk has no room for so many bytes, because some libraries crash when it is full.

    The bytes are allocated, and freed at once, because only then does a quota count, too.

    Args:
        directory: A directory on the disk; it must exist.
        size: Bytes.
        what: What is to be written, as a noun with its article.

    Raises:
        PipelineError: If it has no room; the message has the bytes needed and free.
    """
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, max(1, size))
            elif (free := free_bytes(directory)) is not None and free < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        if not is_full(error):
            raise
        raise PipelineError(
            "the disk must have room for what is written",
            received=f"{what}, which takes {size:,} bytes; {free_space(directory)} on the disk of {directory}",
            remedy="free space there, or raise the quota; then run the same command again",
        ) from error
