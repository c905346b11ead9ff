"""What the directories of a root mean: artifacts, found by key, complete or not there.

artifacts/<step>/<key>             a finished artifact: it holds a manifest
artifacts/<step>/<key>.partial     what a step writes, its manifest last
artifacts/<step>/<key>.replaced    an older artifact of that key, until the new one stands
artifacts/<step>/<key>.damaged     an artifact that was found damaged, set aside
artifacts/<step>/<key>.removed     one that is being removed
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from components.contract import manifest
from components.contract.artifacts import Artifact
from components.contract.component import Component
from components.contract.workers import THIS_PROCESS, Workers
from foundation.command_text import short
from foundation.errors import ArtifactError, DamagedArtifact, directory_mark
from runners.storage import Storage

Output = TypeVar("Output", bound=Artifact)

ARTIFACTS = "artifacts"
PARTIAL, DAMAGED, REPLACED, REMOVED = ".partial", ".damaged", ".replaced", ".removed"
"""What follows the key in the name of a directory that is no finished artifact."""
KEY_DIGITS = 16
"""Hexadecimal digits of the key in a directory's name; the manifest holds all 64."""


class Store:
    """The artifacts of one pipeline root.

    A step writes to a partial directory, its manifest last; one rename makes it the artifact of its key. A partial
    directory without a manifest is debris of a run that was cut off: the next run of that key removes it, unless the
    step can go on from it.

    Args:
        storage: Where the directories are.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._seen: manifest.Seen = {}

    def path(self, component: Component[Output], key: str) -> Path:
        """Where the artifact of a step and key stands once it is finished."""
        return self.storage.path(_name(component, key))

    def name(self, component: Component[Output], key: str) -> str:
        """The name of the artifact of a step and key, relative to the root."""
        return _name(component, key)

    def undisturbed(self) -> contextlib.AbstractContextManager[object]:
        """Holds off whoever removes artifacts, for the moment that it takes to say that one is in use."""
        return self.storage.lock_for_a_moment(ARTIFACTS)

    def find(self, component: Component[Output], key: str) -> Output | None:
        """The finished artifact of a step and key; None where there is none.

        Raises:
            DamagedArtifact: If its manifest can't be read or is that of another key, or a file is missing or of another
                size.
        """
        self.storage.look(_name(component, key))
        artifact = component.at(self.path(component, key))
        try:
            written_for = artifact.manifest.get("key")
        except DamagedArtifact:
            raise
        except ArtifactError:
            return None
        if written_for != key:
            # Somebody moved it there, and it may be the only one: it must not go when this key's artifact is made.
            received = f"{artifact.directory}, which its manifest says is the artifact of the key {written_for}"
            raise DamagedArtifact(artifact.directory, received)
        return artifact

    def fetch(self, artifact: Artifact) -> None:
        """Sees to it that all files of an artifact are on this machine."""
        self.storage.fetch(f"{_group(artifact.directory.parent.name)}/{artifact.directory.name}")

    def fetch_inputs(self, component: Component[Output]) -> None:
        """Sees to it that all files of a component's inputs are on this machine, as far as there are inputs yet."""
        for artifact in component.inputs.values():
            if artifact.path is not None:
                self.fetch(artifact)

    def set_aside(self, damage: DamagedArtifact) -> Path | None:
        """Renames a damaged artifact, so that its step makes it anew. What is left of it may be worth a look.

        Another run may have found the damage before, and have made the artifact anew while this one waited for it.

        Returns:
            Where it is now; None where what was damaged isn't there any more.
        """
        directory = damage.directory
        name = f"{_group(directory.parent.name)}/{directory.name}"
        with self.storage.lock(name):
            if damage.mark is None or damage.mark != directory_mark(directory):
                return None
            candidates = (f"{name}{DAMAGED}{number or ''}" for number in itertools.count())
            aside = next(candidate for candidate in candidates if not self.storage.exists(candidate))
            self.storage.rename(name, aside)
        return self.storage.path(aside)

    def earlier_sources(self, component: Component[Output]) -> dict[str, str] | None:
        """What a component read from outside when it last ran, all else being equal; None if it never did."""
        if any(artifact.path is None for artifact in component.inputs.values()):
            return None
        found = []
        for name in self.storage.names(_group(component.name)):
            with contextlib.suppress(ArtifactError, OSError):
                content = component.at(self.storage.path(name)).manifest
                sources = dict(content["sources"])
                if content["key"] == component.key(sources):
                    written = (self.storage.path(name) / manifest.NAME).stat().st_mtime_ns
                    found.append((written, sources))
        return max(found, key=lambda one: one[0])[1] if found else None

    @contextlib.contextmanager
    def locked(self, component: Component[Output], key: str) -> Iterator[None]:
        """Holds the step and key against other runs on the same root; waits for its turn."""
        name = _name(component, key)
        with self.storage.lock(name):
            self._complete(component, name)
            yield

    def resumable(self, component: Component[Output], key: str) -> str | None:
        """How far a run of this step and key came that was cut off, if it can be gone on from."""
        return component.resumes(self.storage.path(_name(component, key) + PARTIAL))

    def bring_unfinished(self, component: Component[Output], key: str) -> None:
        """Sees to it that a run of this step and key that was cut off on another machine can be gone on from here."""
        if component.scratch is not None:
            self.storage.bring_unfinished(_name(component, key) + PARTIAL, component.scratch)

    def unfinished(self, component: Component[Output], key: str) -> str | None:
        """Runs of a step with other keys that were cut off and can be gone on from: the newest, and how far it came.

        Args:
            component: The step.
            key: The key that is left out.

        Returns:
            Its directory and how far it came, with the number of the others; None where there is none.
        """
        names = self.storage.names(_group(component.name))
        others = [name for name in names if name.endswith(PARTIAL) and name != _name(component, key) + PARTIAL]
        found = {self.storage.path(name): component.resumes(self.storage.path(name)) for name in others}
        left = [directory for directory, how_far in found.items() if how_far is not None]
        if not left:
            return None
        newest = max(left, key=lambda directory: directory.stat().st_mtime)
        more = f", and than in {len(left) - 1:,} more" if len(left) > 1 else ""
        return f"{short(newest)}, which came to {found[newest]}{more} (remove what is no longer wanted)"

    def make(
        self,
        component: Component[Output],
        key: str,
        sources: Mapping[str, str],
        anew: bool = False,
        workers: Workers = THIS_PROCESS,
    ) -> Output:
        """Checks a step's inputs, runs it and keeps what it made; a finished artifact of that key is replaced.

        A step that fails leaves nothing but what it can go on from. What this returns is on the disk itself.

        Args:
            component: The step.
            key: Its key.
            sources: What its `sources` returned.
            anew: Whether to begin at the start whatever an earlier run left.
            workers: Who shares the step's work.

        Raises:
            DamagedArtifact: If an input is no longer what was written.
            PipelineError: What the step refuses.
        """
        for artifact in component.inputs.values():
            self.fetch(artifact)
            manifest.verify(artifact.directory, artifact.manifest, self._seen)
        if anew or self.resumable(component, key) is None:
            self.storage.remove(_name(component, key) + PARTIAL)
        try:
            self._write(component, key, sources, workers)
        except BaseException:
            # What can't be removed is debris to the next run, and hides nothing.
            with contextlib.suppress(OSError):
                if self.resumable(component, key) is None:
                    self.storage.remove(_name(component, key) + PARTIAL)
            raise
        self._replace(_name(component, key))
        self._remove_scratch(component, _name(component, key))
        return component.at(self.path(component, key))

    def _write(self, component: Component[Output], key: str, sources: Mapping[str, str], workers: Workers) -> None:
        """Has a step write its files to its partial directory, and adds the manifest."""
        partial = self.storage.create(_name(component, key) + PARTIAL)
        name = _name(component, key) + PARTIAL
        with self.storage.visiting(component.reads, component.writes), self.storage.keeping(name, component.scratch):
            component.run_with(partial, workers)
        component.finish(partial, key, sources)

    def _replace(self, name: str) -> None:
        """Gives a partial directory its final name; an older artifact of that name goes when the new one stands."""
        self.storage.remove(name + REPLACED)
        if self.storage.exists(name):
            self.storage.rename(name, name + REPLACED)
        self.storage.rename(name + PARTIAL, name)
        self.storage.remove(name + REPLACED)

    def _complete(self, component: Component[Output], name: str) -> None:
        """Does what a run that was killed while it replaced an artifact had yet to do.

        Between its two renames the name is free: the new artifact takes it, which is finished, or else the old one.
        Where the name is taken, nobody goes on from what else is left.
        """
        if not self.storage.exists(name):
            left = (candidate for candidate in (name + PARTIAL, name + REPLACED) if self._is_finished(candidate))
            if (finished := next(left, None)) is not None:
                self.storage.rename(finished, name)
        if self._is_finished(name):
            self.storage.remove(name + PARTIAL)
            self.storage.remove(name + REPLACED)
        self._remove_scratch(component, name)

    def _is_finished(self, name: str) -> bool:
        return self.storage.exists(f"{name}/{manifest.NAME}")

    def _remove_scratch(self, component: Component[Output], name: str) -> None:
        """Removes from a finished artifact what its step kept only to go on from."""
        if component.scratch is not None and self._is_finished(name):
            self.storage.remove(f"{name}/{component.scratch}")


def _group(step: str) -> str:
    """What the names of a step's directories begin with."""
    return f"{ARTIFACTS}/{step}"


def _name(component: Component[Output], key: str) -> str:
    """The name of the artifact of a step and key."""
    return f"{_group(component.name)}/{key[:KEY_DIGITS]}"
