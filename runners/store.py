"""Artifacts on disk, found by key: complete or not there."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from components import manifest
from components.artifacts import Artifact
from components.component import Component
from components.errors import ArtifactError

Output = TypeVar("Output", bound=Artifact)

PARTIAL = ".partial"
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

    def path(self, component: Component[Output], key: str) -> Path:
        """Where the artifact of a step and key stands once it is finished."""
        return self.root / "artifacts" / component.name / key[:KEY_DIGITS]

    def find(self, component: Component[Output], key: str) -> Output | None:
        """The finished artifact of a step and key; None where there is none, or a damaged one."""
        artifact = component.at(self.path(component, key))
        try:
            made_by = artifact.manifest["key"]
        except ArtifactError:
            return None
        return artifact if made_by == key else None

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
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
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
        """Runs a step and keeps what it made; a finished artifact of that key is replaced.

        A step that fails leaves nothing but what it can go on from.

        Args:
            component: The step.
            key: Its key.
            sources: What its `sources` returned.
            anew: Whether to begin at the start whatever an earlier run left.
        """
        path, partial = self.path(component, key), self.partial(component, key)
        if anew or component.resumes(partial) is None:
            _remove(partial)
        partial.mkdir(parents=True, exist_ok=True)
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
            )
        except BaseException:
            if component.resumes(partial) is None:
                _remove(partial)
            raise
        _replace(path, partial)
        return component.at(path)


def _plain(settings: object) -> dict[str, object]:
    """Settings as JSON has them."""
    plain: dict[str, object] = json.loads(manifest.canonical_json(settings))
    return plain


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)


def _replace(path: Path, partial: Path) -> None:
    """Renames a partial directory to its final name, moving an older one of that name out of the way first."""
    if path.exists():
        # The manifest goes first: what is left of a replacement that is cut off looks like debris.
        (path / manifest.NAME).unlink(missing_ok=True)
        shutil.rmtree(path)
    os.rename(partial, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
