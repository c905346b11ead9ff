"""A remote root as the store sees it: directories of the staging root, which are sent when they are finished."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from components.contract import manifest
from components.contract.elsewhere import files_elsewhere
from components.contract.run_names import RUNS
from foundation import disk
from foundation.errors import ArtifactError, DamagedArtifact, PipelineError
from foundation.process_lock import ProcessLock
from runners.remote import transfer, versions
from runners.remote.leases import RENEWALS, Lease, Leases
from runners.remote.object_store import ObjectStore
from runners.remote.records import Records
from runners.remote.unfinished import Unfinished
from runners.run_record import RUNNING
from runners.storage import LocalStorage
from runners.store import ARTIFACTS, DAMAGED, KEY_DIGITS

ATTEMPTS = 3
"""How often an artifact is looked at anew that another machine makes anew meanwhile."""


class RemoteStorage(LocalStorage):
    """The staging root, and behind it the remote root, which is the truth.

    A finished artifact here is a copy of one there, or a part of it: its files come when somebody needs them. What
    steps are writing, and what they can go on from, is here alone.

    Args:
        objects: The remote root's objects.
        leases: Locks between machines.
        records: The records of runs.
        root: The staging root.
        wait: Whether to wait for a name that another process holds.
        show: Called with a line for whom it waits, and with what couldn't be sent; None for neither.
    """

    def __init__(
        self,
        objects: ObjectStore,
        leases: Leases,
        records: Records,
        root: Path,
        *,
        wait: bool = True,
        show: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(root, wait=wait, show=show)
        self.objects = objects
        self.leases = leases
        self.records = records
        self.unfinished = Unfinished(objects, root, leases.seconds / RENEWALS, show)
        self._held: dict[str, Lease] = {}

    def exists(self, name: str) -> bool:
        """Whether there is a directory here, or one that was set aside there."""
        return super().exists(name) or (DAMAGED in name and bool(self.objects.list(name)))

    def names(self, group: str) -> list[str]:
        """The names here and there; of an artifact that is only there, the manifest is brought here."""
        there = {each.rsplit("/", 1)[0] for each in self.objects.list(group) if each.endswith(f"/{manifest.NAME}")}
        artifacts = [name for name in there if is_artifact(name)]
        for name in artifacts:
            self.sketch(name)
        return sorted({*super().names(group), *artifacts})

    def rename(self, name: str, new_name: str) -> None:
        """Renames a directory here. One that becomes an artifact is sent first.

        One that is set aside moves there, too, unless only the copy here is damaged: then it is brought again.
        """
        if is_artifact(new_name):
            self._send(name, new_name)
        elif DAMAGED in new_name and not transfer.is_whole(self.objects, name):
            transfer.move(self.objects, name, new_name)
        super().rename(name, new_name)

    @contextlib.contextmanager
    def locked(self, name: str, local: ProcessLock, what: str, wait: bool) -> Iterator[None]:
        """Holds a name on this machine first, then against all others."""
        show = self.show
        line = None if show is None else lambda text: show(f"  {what:<11} {text}")
        with local, self.leases.hold(name, what, wait=wait, show=line) as lease:
            self._held[name] = lease
            try:
                yield
            finally:
                del self._held[name]

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:  # type: ignore[override]
        """Holds an artifact's name; one that is finished here and was never sent whole is sent then."""
        with self.locked(name, super().lock(name), self.path(name).parent.name, self.wait):
            self._complete(name)
            yield

    def lock_for_a_moment(self, name: str) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """Holds a name that nobody holds for long."""
        return self.locked(name, super().lock_for_a_moment(name), name, True)

    def look(self, name: str) -> None:
        """Makes what stands here the artifact that is there, with its reports."""
        self._bring(name, whole=False)

    def fetch(self, name: str) -> None:
        """Brings all files of an artifact here that are elsewhere."""
        if files_elsewhere(self.path(name)):
            self._bring(name, whole=True)

    def fetch_some(self, name: str, files: Sequence[str]) -> None:
        """Brings some files of an artifact here that are elsewhere."""
        wanted = files_elsewhere(self.path(name)) & set(files)
        if wanted:
            with self._fetching(name):
                transfer.bring(self.objects, self.root, name, whole=False, more=wanted)

    def sketch(self, name: str) -> None:
        """Brings the manifest of an artifact here, and no other file."""
        with self._fetching(name):
            transfer.look(self.objects, self.root, name)

    def share(self, name: str) -> None:
        """Sends a run's record and reports, and takes those of others.

        That a run uses an artifact must be known before it does; all else can wait for the next time.

        Raises:
            PipelineError: If it can't be said what the run uses.
        """
        if name.endswith(f"/{RUNNING}"):
            self.records.send(name)
            return
        try:
            self.records.send(name)
            if name.startswith(f"{RUNS}/"):
                self.records.send(f"{RUNS}/index.html")
                self.records.take()
        except PipelineError as error:
            if self.show is not None:
                self.show(f"  {'record':<11} can't be sent now: {error.received}")

    def bring_unfinished(self, name: str, scratch: str) -> None:
        """Brings what another machine has left of an unfinished step, where it came farther than this one."""
        self.unfinished.bring(name, scratch)

    def keeping(self, name: str, scratch: str | None) -> contextlib.AbstractContextManager[None]:
        """Sends what a step can be gone on from, while it runs."""
        return self.unfinished.kept(name, scratch)

    @contextlib.contextmanager
    def visiting(self, reads: Sequence[Path], writes: Sequence[Path]) -> Iterator[None]:
        """Brings the versions here that a step may compare with, and sends those that it has written."""
        for name in self._names_of(reads):
            self.take_versions(name)
        with contextlib.ExitStack() as held:
            names = self._names_of(writes)
            for name in names:
                held.enter_context(self.locked(name, LocalStorage.lock_for_a_moment(self, name), "push", self.wait))
                self.take_versions(name)
            yield
            for name in names:
                versions.give(self.objects, self.root, name, functools.partial(self.leases.require, self._held[name]))

    def take_versions(self, name: str, *, to_compare: bool = True, latest: bool = False) -> None:
        """Makes a base path here show the versions that are there, and brings some of them.

        Args:
            name: The base path's, relative to the root.
            to_compare: Whether those are brought that a new model may have to beat.
            latest: Whether the one is brought that servers take.
        """
        with self._fetching(name):
            versions.take(self.objects, self.root, name)
            base_path = self.path(name)
            wanted = versions.numbers_to_compare(base_path) if to_compare else set()
            wanted |= versions.latest_number(base_path) if latest else set()
            versions.bring(self.objects, self.root, name, wanted)

    def _names_of(self, paths: Sequence[Path]) -> list[str]:
        """The names of those paths that are below the root."""
        return [path.relative_to(self.root).as_posix() for path in paths if path.is_relative_to(self.root)]

    def _bring(self, name: str, *, whole: bool) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            with self._fetching(name):
                if not transfer.look(self.objects, self.root, name):
                    if files_elsewhere(self.path(name)):  # it was removed there
                        self.remove(name)
                    return
                try:
                    transfer.bring(self.objects, self.root, name, whole=whole)
                    return
                except DamagedArtifact:
                    written = self.objects.read(f"{name}/{manifest.NAME}")
                    if attempt == ATTEMPTS or written == (self.path(name) / manifest.NAME).read_bytes():
                        raise

    def _send(self, name: str, new_name: str) -> None:
        """Sends a finished directory as an artifact."""
        digests = {each: file["sha256"] for each, file in manifest.parse(self.path(name))["files"].items()}
        lease = self._held.get(new_name)
        confirm = (lambda: None) if lease is None else functools.partial(self.leases.require, lease)
        transfer.send(self.objects, self.path(name), new_name, digests, [manifest.NAME], confirm)
        self.unfinished.discard(new_name)

    def _complete(self, name: str) -> None:
        """Sends an artifact that is finished here and isn't there: it was removed, or its upload was cut off."""
        directory = self.path(name)
        if not (directory / manifest.NAME).is_file() or self.objects.read(f"{name}/{manifest.NAME}") is not None:
            return
        if files_elsewhere(directory):
            self.remove(name)
            return
        with contextlib.suppress(ArtifactError):  # a damaged one is found by those who read it
            self._send(name, name)

    def _fetching(self, name: str) -> ProcessLock:
        """One process of this machine at a time brings an artifact here."""
        path = self.path(name)
        disk.make_directory(path.parent)
        return ProcessLock(path.with_name(f".{path.name}.fetch.lock"), "fetch")


def is_artifact(name: str) -> bool:
    """Whether a name is that of a finished artifact, or of one that is to be."""
    parts = name.split("/")
    return len(parts) == 3 and parts[0] == ARTIFACTS and len(parts[2]) == KEY_DIGITS and parts[2].isalnum()
