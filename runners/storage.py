"""Where bytes are: what the store needs of the place that holds a pipeline root, and the file system as that place."""

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from foundation import disk
from foundation.process_lock import ProcessLock


class Storage(Protocol):
    """Directories of files, each with a name: a relative path with slashes, such as `artifacts/train/0123456789abcdef`.

    Steps read and write files by path, so each directory has a path on this machine. A storage elsewhere, such as a
    bucket (`runners.remote`), sends a directory when it is renamed, since nobody else looks at one before it has its
    final name, and brings it here when somebody wants to look at it or to read all of it.
    """

    def path(self, name: str) -> Path:
        """Where a directory is read and written on this machine; it need not exist."""

    def exists(self, name: str) -> bool:
        """Whether there is a directory, or a file, of that name."""

    def names(self, group: str) -> list[str]:
        """The names of the directories directly below a directory, sorted."""

    def create(self, name: str) -> Path:
        """Makes a directory where it is missing, and waits until it is durable; its path."""

    def rename(self, name: str, new_name: str) -> None:
        """Gives a directory a name that is free, at once or not at all, and waits until that is durable."""

    def remove(self, name: str) -> None:
        """Removes a directory and all that is in it, where it exists."""

    def lock(self, name: str) -> contextlib.AbstractContextManager[object]:
        """Holds a name against every other process; waits for its turn. The lock ends with its process.

        Raises:
            LockHeld: If another process holds it, and nobody wants to wait.
        """

    def lock_for_a_moment(self, name: str) -> contextlib.AbstractContextManager[object]:
        """The same for what nobody holds for long: waits for its turn in any case."""

    def look(self, name: str) -> None:
        """Sees to it that here stands what the storage has under an artifact's name, as far as people look at it.

        Raises:
            DamagedArtifact: If it isn't what was sent.
        """

    def fetch(self, name: str) -> None:
        """Sees to it that all files of an artifact are here.

        Raises:
            DamagedArtifact: If one isn't what was sent.
        """

    def share(self, name: str) -> None:
        """Shows others what stands here by now in a directory, or a file, that is no artifact: the record of a run."""

    def bring_unfinished(self, name: str, scratch: str) -> None:
        """Sees to it that here stands what an unfinished step can be gone on from, wherever it ran.

        Args:
            name: The directory that the step writes.
            scratch: The name of the directory in it of what can be gone on from.
        """

    def keeping(self, name: str, scratch: str | None) -> contextlib.AbstractContextManager[object]:
        """Keeps what a step can be gone on from while it runs, as `bring_unfinished` finds it; None for nothing."""

    def visiting(self, reads: Sequence[Path], writes: Sequence[Path]) -> contextlib.AbstractContextManager[object]:
        """Has directories of the root beside its artifacts be here while a step reads them, or writes them alone.

        Args:
            reads: Directories, which may be outside the root.
            writes: Others, which are held against other processes until what the step did there is in the storage.
        """


class LocalStorage:
    """Directories below a directory of this machine's file system.

    Args:
        root: The directory; it need not exist.
        wait: Whether to wait for a name that another process holds.
        show: Called with a line for whom it waits; None for a wait without a word.
    """

    def __init__(self, root: Path, *, wait: bool = True, show: Callable[[str], None] | None = None) -> None:
        self.root = root
        self.wait = wait
        self.show = show

    def path(self, name: str) -> Path:
        """The directory's path."""
        return self.root / name

    def exists(self, name: str) -> bool:
        """Whether there is a directory, a file or a link of that name."""
        return os.path.lexists(self.path(name))

    def names(self, group: str) -> list[str]:
        """The names of the directories in the group's directory, sorted."""
        return sorted(f"{group}/{path.name}" for path in self.path(group).glob("*") if path.is_dir())

    def create(self, name: str) -> Path:
        """Makes a directory and its parents where they are missing."""
        disk.make_directory(self.path(name))
        return self.path(name)

    def rename(self, name: str, new_name: str) -> None:
        """Renames a directory; both names have one parent."""
        os.rename(self.path(name), self.path(new_name))
        disk.flush(self.path(new_name).parent)

    def remove(self, name: str) -> None:
        """Removes a directory and all that is in it, where it exists.

        Of a link, by which somebody keeps a directory on another disk, the link alone goes.
        """
        if self.path(name).is_symlink():
            self.path(name).unlink()
        elif self.exists(name):
            shutil.rmtree(self.path(name))

    def lock(self, name: str) -> ProcessLock:
        """Holds a file beside the directory, `.<its name>.lock`, for the step that the name's parent is of."""
        return self._lock(name, self.path(name).parent.name, None if self.wait else 0.0)

    def lock_for_a_moment(self, name: str) -> ProcessLock:
        """Holds the same file."""
        return self._lock(name, name, None)

    def look(self, name: str) -> None:
        """All that there is stands here."""

    def fetch(self, name: str) -> None:
        """All files are here."""

    def share(self, name: str) -> None:
        """Others see it as it is."""

    def bring_unfinished(self, name: str, scratch: str) -> None:
        """It stands here."""

    def keeping(self, name: str, scratch: str | None) -> contextlib.AbstractContextManager[object]:
        """It stays where the step writes it."""
        return contextlib.nullcontext()

    def visiting(self, reads: Sequence[Path], writes: Sequence[Path]) -> contextlib.AbstractContextManager[object]:
        """They are here, and steps lock them themselves."""
        return contextlib.nullcontext()

    def _lock(self, name: str, what: str, timeout_seconds: float | None) -> ProcessLock:
        path, show = self.path(name), self.show
        disk.make_directory(path.parent)
        line = None if show is None else lambda text: show(f"  {what:<11} {text}")
        return ProcessLock(path.with_name(f".{path.name}.lock"), what, timeout_seconds=timeout_seconds, show=line)
