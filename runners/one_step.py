"""Runs one step that another process tells of, and puts its artifact where that process wants it."""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from components.contract import manifest
from components.contract.artifacts import Artifact
from components.contract.component import Component
from components.contract.workers import THIS_PROCESS, Workers
from foundation import disk
from foundation.errors import ArtifactError, ConfigError, DamagedArtifact, PipelineError
from runners.storage import Storage
from runners.store import ARTIFACTS, KEY_DIGITS, Store

Output = TypeVar("Output", bound=Artifact)


def run_step(
    component: Component[Output],
    out: Path,
    *,
    storage: Storage | None = None,
    workers: Workers = THIS_PROCESS,
    show: Callable[[str], None] = print,
) -> tuple[Output, str]:
    """Runs a step whose inputs are there, or finds its artifact.

    Args:
        component: The step. Its inputs are compared with their manifests first.
        out: Where the artifact is to be, a directory that is made. Its manifest is written last.
        storage: A root that keeps what steps make: an artifact of the same key is found there, and a training that was
            cut off goes on from there. None for making it in `out`, from the start.
        workers: Who shares the step's work. They see the root's files, so that they need one.
        show: Called with a line of text to show.

    Returns:
        The artifact in `out`, and whether the step `ran` for it or it was `cached`.

    Raises:
        PipelineError: If an input is missing or damaged, or what the step refuses.
    """
    if storage is None and workers is not THIS_PROCESS:
        raise ConfigError(
            "a step whose work is shared must have a root that all workers see",
            received="none",
            remedy="name one by --root",
        )
    for artifact in component.inputs.values():
        manifest.verify(artifact.directory, artifact.manifest, {})
    store = None if storage is None else Store(storage)
    if store is not None and workers is not THIS_PROCESS:
        component = _with_inputs_that_workers_see(component, store)
    # What runs has to be what its key names: from here on it is this very object.
    sources = dict(component.sources())
    component.preflight()
    key = component.key(sources)
    with _errors_of_files(out):
        if store is None:
            _make(component, out, key, sources, workers)
            return component.at(out), "ran"
        made, status = _find_or_make(store, component, key, sources, workers, show)
        _copy(made.directory, out)
        return component.at(out), status


def _make(component: Component[Output], out: Path, key: str, sources: Mapping[str, str], workers: Workers) -> None:
    """Makes an artifact where nothing is to be found of it."""
    shutil.rmtree(out, ignore_errors=True)
    disk.make_directory(out)
    component.run_with(out, workers)
    component.finish(out, key, sources)
    if component.scratch is not None:
        shutil.rmtree(out / component.scratch, ignore_errors=True)


def _with_inputs_that_workers_see(component: Component[Output], store: Store) -> Component[Output]:
    """A step with the inputs as they are in the root: what was copied for this step is on this machine alone.

    Raises:
        ArtifactError: If the root doesn't hold an input.
    """
    inputs = {}
    for field, artifact in component.inputs.items():
        made_by, key = artifact.manifest["component"], artifact.manifest["key"][:KEY_DIGITS]
        inputs[field] = type(artifact)(store.storage.path(f"{ARTIFACTS}/{made_by}/{key}"))
        if inputs[field].digest != artifact.digest:
            raise ArtifactError(
                "a root that is shared with workers must hold the inputs of a step as they were made",
                received=f"{inputs[field].directory}, which isn't what {field} is",
                remedy=f"remove it, and run {made_by} again",
            )
    return dataclasses.replace(component, **inputs)


def _find_or_make(
    store: Store,
    component: Component[Output],
    key: str,
    sources: Mapping[str, str],
    workers: Workers,
    show: Callable[[str], None],
) -> tuple[Output, str]:
    """The artifact in a root, and whether it `ran` or was `cached`. One that is damaged is set aside."""
    with store.locked(component, key):
        damage = None
        try:
            artifact = store.find(component, key)
            if artifact is not None:
                manifest.verify(artifact.directory, artifact.manifest, {})
        except DamagedArtifact as error:
            artifact, damage = None, error
        if artifact is not None and component.holds(artifact):
            return artifact, "cached"
        if damage is None:
            if (how_far := store.resumable(component, key)) is not None:
                show(f"  {component.name:<11} goes on from {how_far}")
            return store.make(component, key, sources, workers=workers), "ran"
    aside = store.set_aside(damage)  # It takes the lock itself.
    show(f"  {component.name:<11} damaged: {damage.received}; set aside{'' if aside is None else f' as {aside.name}'}")
    return _find_or_make(store, component, key, sources, workers, show)


def _copy(made: Path, out: Path) -> None:
    """Copies an artifact, its manifest last."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(made, out, ignore=lambda directory, _: [manifest.NAME] if Path(directory) == made else [])
    shutil.copy2(made / manifest.NAME, out / manifest.NAME)


@contextlib.contextmanager
def _errors_of_files(out: Path) -> Iterator[None]:
    """Tells of a disk that is full, or doesn't let anybody write, as what it is.

    Raises:
        PipelineError: If it is.
    """
    try:
        yield
    except OSError as error:
        if disk.is_full(error):
            raise disk.full_disk(error, out, "a step's files are written", "give the step more room there") from error
        raise PipelineError(
            "the system must let a step read and write its files",
            received=f"{' '.join(str(error).split())}, while {out} is written",
            remedy="let the user that the step runs as write there, and run it again",
        ) from error
