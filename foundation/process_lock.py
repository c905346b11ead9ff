"""A lock that one process holds at a time: a file in which its holder says who it is, for those who wait."""

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from foundation.errors import PipelineError
from foundation.terminal import TERMINAL

POLL_SECONDS = 0.05
SILENT_SECONDS = 1.0
"""A wait that is shorter is worth no line."""
MOST_HOLDER_BYTES = 1 << 20
CONTENDED = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class LockHeld(PipelineError):
    """Another process holds a lock for longer than the caller is willing to wait."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lock, as far as its file says.

    Attributes:
        pid: The process; None where the file doesn't say.
        host: The machine that it runs on.
        since: When it took the lock: UTC, to the second, in ISO 8601.
        notes: The lines that it has added since.
    """

    pid: int | None = None
    host: str | None = None
    since: str | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        return f"process {self.pid} on {self.host} (since {str(self.since)[:19].replace('T', ' ')} UTC)"


class ProcessLock:
    """Holds a file against every other process, and against other instances in this one.

    The system releases the lock when its process ends, however that ends. The file goes with the lock; one that a
    killed process left harms nobody. Whoever removes such a file takes its lock first.

    Args:
        path: The file, whose directory must exist.
        what: What waits, for the lines about it: a step's name.
        timeout_seconds: How long to wait for another process; 0 for not at all, None for as long as it takes.
        show: Called once with a line, where the wait takes longer than a second; None for a wait without a word.

    Raises:
        LockHeld: From `acquire`, if the time is over.
        PipelineError: From `acquire`, if the file system has no locks.

    Example:
        with ProcessLock(Path("root/.artifact.lock"), "train", show=print):
            ...  # nobody else is here
    """

    def __init__(
        self,
        path: Path,
        what: str,
        *,
        timeout_seconds: float | None = None,
        show: Callable[[str], None] | None = None,
    ) -> None:
        self.path = path
        self.what = what
        self.timeout_seconds = timeout_seconds
        self.show = show
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock, and writes down who holds it."""
        started = time.monotonic()
        shown = False
        try:
            while not self.take():
                waited = time.monotonic() - started
                if self.timeout_seconds is not None and waited >= self.timeout_seconds:
                    raise self._held(waited)
                if self.show is not None and not shown and waited > SILENT_SECONDS:
                    shown = True
                    self.show(f"waits for {holder_of(self.path)}")
                    TERMINAL.status(lambda columns: self._status(started)[:columns])
                time.sleep(POLL_SECONDS)
        finally:
            if shown:
                TERMINAL.status(None)

    def take(self) -> bool:
        """Takes the lock if nobody holds it; whether it did."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # Another process may have removed the file before this one locked it: then the lock is of no use.
            if not (_lock(descriptor, fcntl.LOCK_EX, self.path) and _is_at(descriptor, self.path)):
                os.close(descriptor)
                return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
        # A full disk must not keep anybody from holding a lock.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{json.dumps(holder)}\n".encode())
        return True

    def note(self, line: str) -> None:
        """Adds a line to the file, for others to read while the lock is held.

        Raises:
            OSError: If it can't be written.
        """
        if self._descriptor is None:
            raise ValueError(f"{self.path} isn't held")
        os.lseek(self._descriptor, 0, os.SEEK_END)
        # On a line of its own, also after one that a full disk has cut short.
        data = f"\n{line}\n".encode()
        if os.write(self._descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def release(self, *, remove: bool = True) -> None:
        """Gives the lock back.

        Args:
            remove: Whether its file goes, too.
        """
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            # Removed while it is held, so that nobody can hold another file of this name meanwhile.
            if remove:
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def __enter__(self) -> "ProcessLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _status(self, started: float) -> str:
        return f"  {self.what:<11} {'...':<7} {time.monotonic() - started:7.0f} s  waits for {holder_of(self.path)}"

    def _held(self, waited: float) -> LockHeld:
        after = f", and {waited:.0f} s later still" if waited >= 1 else ""
        return LockHeld(
            f"{self.what} must be alone with what it writes",
            received=f"{self.path} is held by {holder_of(self.path)}{after}",
            remedy="wait until that process has ended, or end it, and run the same command again",
        )


def is_held(path: Path) -> bool:
    """Whether a process holds a lock at the moment; False where its file is missing."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH, path)
    finally:
        os.close(descriptor)


def holder_of(path: Path) -> Holder:
    """What a lock's file says of its holder: nothing where it is missing or half written."""
    try:
        with open(path, "rb") as file:
            text = file.read(MOST_HOLDER_BYTES).decode("utf-8", "replace")
    except OSError:
        return Holder()
    lines = [line for line in text.split("\n")[:-1] if line]
    try:
        content = json.loads(lines[0])
        pid, host, since = (content[name] for name in ("pid", "host", "since"))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return Holder(notes=tuple(lines))
    if not (isinstance(pid, int) and isinstance(host, str) and isinstance(since, str)):
        return Holder(notes=tuple(lines[1:]))
    return Holder(pid, host, since, tuple(lines[1:]))


def _lock(descriptor: int, kind: int, path: Path) -> bool:
    """Locks an open file if nobody else has; whether it did. It ends when the file is closed."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in CONTENDED:
            return False
        if error.errno in WITHOUT_LOCKS:
            raise PipelineError(
                "the file system must have locks, so that two processes don't write the same files",
                received=f"{error.strerror} ({path})",
                remedy="put the pipeline root and the serving directory on another file system",
            ) from error
        raise
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
