"""Artifacts on disk, found by key: complete or not there."""

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from components.contract import manifest
from components.contract.artifacts import Artifact
from components.contract.component import Component
from foundation import disk
from foundation.errors import ArtifactError, DamagedArtifact

Output = TypeVar("Output", bound=Artifact)

PARTIAL, DAMAGED, REPLACED = ".partial", ".damaged", ".replaced"
"""What follows the key in the name of a directory that is no finished artifact."""
KEY_DIGITS = 16
"""Hexadecimal digits of the key in a directory's name; the manifest holds all 64."""


class Store:
    """The artifacts of one pipeline root.

    A step writes to `artifacts/<step>/<key>.partial`, its manifest last; one rename makes it
    `artifacts/<step>/<key>`. Whatever has no manifest is debris of an interrupted run, which the next run of that key
    removes, unless the step can go on from it.

    Args:
        root: The pipeline root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: manifest.Seen = {}

    def path(self, component: Component[Output], key: str) -> Path:
        """Where the artifact of a step and key stands once it is finished."""
        return self.root / "artifacts" / component.name / key[:KEY_DIGITS]

    def find(self, component: Component[Output], key: str) -> Output | None:
        """The finished artifact of a step and key; None where there is none.

        Raises:
            DamagedArtifact: If its manifest can't be read, or a file is missing or of another size.
        """
        artifact = component.at(self.path(component, key))
        try:
            made_by = artifact.manifest["key"]
        except DamagedArtifact:
            raise
        except ArtifactError:
            return None
        return artifact if made_by == key else None

    def set_aside(self, directory: Path) -> Path:
        """Renames a damaged artifact, so that its step makes it anew. What is left of it may be worth a look.

        Returns:
            Where it is now.
        """
        with _lock(directory):
            taken = (directory.with_name(f"{directory.name}{DAMAGED}{number or ''}") for number in itertools.count())
            aside = next(path for path in taken if not path.exists())
            if directory.exists():
                os.rename(directory, aside)
                disk.flush(directory.parent)
        return aside

    def earlier_sources(self, component: Component[Output]) -> dict[str, str] | None:
        """What a component read from outside when it last ran, all else being equal; None if it never did."""
        if any(artifact.path is None for artifact in component.inputs.values()):
            return None
        found = []
        for path in (self.root / "artifacts" / component.name).glob(f"*/{manifest.NAME}"):
            with contextlib.suppress(ArtifactError, OSError):
                content = component.at(path.parent).manifest
                sources = dict(content["sources"])
                if content["key"] == component.key(sources):
                    found.append((path.stat().st_mtime_ns, sources))
        return max(found, key=lambda one: one[0])[1] if found else None

    @contextlib.contextmanager
    def locked(self, component: Component[Output], key: str) -> Iterator[None]:
        """Holds the step and key against other runs on the same root; waits for its turn."""
        path = self.path(component, key)
        disk.make_directory(path.parent)
        with _lock(path):
            if component.scratch is not None and (path / manifest.NAME).is_file():
                # Left by a run that was killed between finishing the artifact and this.
                _remove(path / component.scratch)
            yield

    def unfinished(self, component: Component[Output]) -> dict[Path, str]:
        """Runs of a step that were cut off and can be gone on from: the directory, and how far it came."""
        directories = sorted((self.root / "artifacts" / component.name).glob(f"*{PARTIAL}"))
        found = {directory: component.resumes(directory) for directory in directories}
        return {directory: how_far for directory, how_far in found.items() if how_far is not None}

    def partial(self, component: Component[Output], key: str) -> Path:
        """Where a step of a key writes."""
        path = self.path(component, key)
        return path.with_name(path.name + PARTIAL)

    def make(self, component: Component[Output], key: str, sources: dict[str, str], anew: bool = False) -> Output:
        """Checks a step's inputs, runs it and keeps what it made; a finished artifact of that key is replaced.

        A step that fails leaves nothing but what it can go on from. What this returns is on the disk itself.

        Args:
            component: The step.
            key: Its key.
            sources: What its `sources` returned.
            anew: Whether to begin at the start whatever an earlier run left.

        Raises:
            DamagedArtifact: If an input is no longer what was written.
            PipelineError: What the step refuses.
        """
        for artifact in component.inputs.values():
            manifest.verify(artifact.directory, artifact.manifest, self._seen)
        path, partial = self.path(component, key), self.partial(component, key)
        if anew or component.resumes(partial) is None:
            _remove(partial)
        disk.make_directory(partial)
        try:
            component.run(partial)
            manifest.write(
                partial,
                {
                    "type": component.output.__name__,
                    "component": component.name,
                    "version": component.version,
                    "key": key,
                    **_plain(component.settings),
                    "inputs": {name: artifact.digest for name, artifact in component.inputs.items()},
                    "sources": sources,
                },
                without=[] if component.scratch is None else [component.scratch],
            )
        except BaseException:
            if component.resumes(partial) is None:
                _remove(partial)
            raise
        _replace(path, partial)
        if component.scratch is not None:
            _remove(path / component.scratch)
        return component.at(path)


def _plain(settings: object) -> dict[str, object]:
    """Settings as JSON has them."""
    plain: dict[str, object] = json.loads(manifest.canonical_json(settings))
    return plain


def _lock(path: Path) -> FileLock:
    """Of an artifact's directory, against other runs on the same root."""
    return FileLock(path.with_name(f".{path.name}.lock"))


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)


def _replace(path: Path, partial: Path) -> None:
    """Renames a partial directory to its final name; an older one of that name goes when the new one is on the disk."""
    older = path.with_name(path.name + REPLACED)
    _remove(older)
    if path.exists():
        os.rename(path, older)
    os.rename(partial, path)
    disk.flush(path.parent)
    _remove(older)
