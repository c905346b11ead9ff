"""Publishes a SavedModel as the next version of a base path, whose layout `foundation.versions` describes.

    <serving_dir>/<model_name>/         the base path
        1/                              a version
            assets.extra/pushed.json    what this pipeline recorded about it (`components.contract.push_record`)
        .push.lock                      held by the process that publishes
        .pushing-…                      a version that is being written, which no server takes for one
        .removed-…                      one that is being removed, which no server takes for one any more

A version becomes visible by one rename, when every byte of it is on the disk, and invisible by another.
"""

import dataclasses
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.contract.manifest import now
from components.contract.push_record import RECORD, damage_of, read_record, write_record
from foundation import disk
from foundation.errors import ArtifactError, PipelineError
from foundation.process_lock import ProcessLock
from foundation.versions import SAVED_MODEL, versions

PARTIAL_PREFIX = ".pushing-"
REMOVED_PREFIX = ".removed-"
LOCK_NAME = ".push.lock"
LOCK_TIMEOUT_SECONDS = 600.0
LEAST_VERSIONS = 2
"""The latest version, and the one before it, for a rollback."""


@dataclasses.dataclass(frozen=True)
class Publication:
    """A model that is a version of a base path.

    Attributes:
        path: The version's directory.
        version: The version's number.
        digest: The digest of the ServingModel artifact that it was copied from.
        created: False where the model was the latest version already.
    """

    path: Path
    version: int
    digest: str
    created: bool


def latest(
    base_path: Path, digest: str, identity: str | None = None, show: Callable[[str], None] = lambda line: None
) -> Publication | None:
    """The latest version of a base path, if it is undamaged and is the model with this digest or identity.

    An older version doesn't count, because servers serve the latest.

    Args:
        base_path: The directory of the versions.
        digest: The digest of the ServingModel artifact.
        identity: What models that answer alike have in common.
        show: Called with a line about a version that is this model, but damaged.
    """
    try:
        found = versions(base_path)
    except OSError:
        return None
    if not found:
        return None
    version, path = list(found.items())[-1]
    record = read_record(path)
    if record is None:
        return None
    if record.get("digest") != digest and (identity is None or record.get("identity") != identity):
        return None
    if (damage := damage_of(path, record)) is not None:
        show(f"version {version} is damaged, and the model becomes a new one: {damage}")
        return None
    return Publication(path=path, version=version, digest=str(record.get("digest")), created=False)


def publish(
    saved_model: Path,
    base_path: Path,
    digest: str,
    sha256: Mapping[str, str],
    facts: Mapping[str, Any],
    *,
    confirm: Callable[[], None] = lambda: None,
    before_visible: Callable[[], None] = lambda: None,
    lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS,
    keep_versions: int | None = None,
    show: Callable[[str], None] = lambda line: None,
) -> Publication:
    """Makes a SavedModel the latest version of a base path, unless it is that already.

    The new number is one above the highest child that reads as a version, whatever that child holds; it never comes
    from the clock. A model that is an older version there becomes a new version too: whoever pushes it wants it
    served, and servers serve the highest number.

    Args:
        saved_model: The directory to copy, which holds a `saved_model.pb`.
        base_path: The directory of the versions; made if missing.
        digest: A digest that only this model has.
        sha256: The digest of every file of `saved_model` by its relative path. The copies must have the same.
        facts: More to record in the version's `assets.extra/pushed.json`. Models with the same `identity` there count
            as one, although exports of equal weights differ in their bytes: if the latest version has it, it stays.
        confirm: Called when no other process can publish any more. What it raises ends the push.
        before_visible: Called when a new version is on the disk, but no server sees it yet. What it raises removes it.
        lock_timeout_seconds: How long to wait for another process that publishes there; 0 for not at all.
        keep_versions: How many versions stay, see `remove_old_versions`; None for all.
        show: Called with a line for whom it waits, which versions it removed, and about a damaged version that this
            model takes the place of.

    Returns:
        The version, new or found.

    Raises:
        ArtifactError: If the SavedModel is not what its digests say.
        PipelineError: If the base path can't be written or the disk is full; nothing is then visible there.

    Example:
        files = {path.relative_to(saved_model).as_posix() for path in saved_model.rglob("*") if path.is_file()}
        sha256 = {name: digest_of_file(saved_model / name) for name in files}
        publication = publish(saved_model, Path("serving/fill_mask"), digest_of(sha256), sha256, {})
        print(publication.path)  # serving/fill_mask/1
    """
    with write_errors(base_path):
        base_path.mkdir(parents=True, exist_ok=True)
        with locked(base_path, lock_timeout_seconds, show):
            remove_debris(base_path)
            confirm()
            published = latest(base_path, digest, facts.get("identity"), show)
            if published is not None:
                if facts.get("blessed"):
                    record_blessing(published.path)
                remove_old_versions(base_path, keep_versions, show)
                return published
            version = max(versions(base_path), default=0) + 1
            partial = base_path / f"{PARTIAL_PREFIX}{version}-{uuid.uuid4().hex[:8]}"
            try:
                copy_version(saved_model, partial, sha256, {**facts, "version": version, "digest": digest})
                before_visible()
                path = base_path / str(version)
                os.rename(partial, path)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            disk.flush(base_path)
            remove_old_versions(base_path, keep_versions, show)
            return Publication(path=path, version=version, digest=digest, created=True)


def remove_old_versions(base_path: Path, keep: int | None, show: Callable[[str], None] | None = None) -> None:
    """Removes the oldest versions of a base path, each by one rename first, so that no server sees half of one.

    Never removed are the two latest; the last blessed one, which the next model must beat; the last blessed one with
    other weights than that, which this model must beat when it is evaluated again; and whatever this pipeline has not
    pushed, or can't be read. The caller holds the lock.

    Args:
        base_path: The directory of the versions.
        keep: How many stay at most, but for these; at least 2. None for all.
        show: Called with a line that names them.
    """
    if keep is None:
        return
    found = versions(base_path)
    records = {number: read_record(path) for number, path in found.items()}
    blessed = {number: facts.get("model_digest") for number, facts in records.items() if facts and facts.get("blessed")}
    kept = set(list(found)[-max(keep, LEAST_VERSIONS) :])
    if blessed:
        last = max(blessed)
        kept |= {last, *[number for number in blessed if blessed[number] != blessed[last]][-1:]}
    removed = [number for number, facts in records.items() if facts is not None and number not in kept]
    for number in removed:
        gone = base_path / f"{REMOVED_PREFIX}{number}-{uuid.uuid4().hex[:8]}"
        os.rename(found[number], gone)
        disk.flush(base_path)
        shutil.rmtree(gone, ignore_errors=True)
    if removed and show is not None:
        several = "s" if len(removed) > 1 else ""
        show(f"removed version{several} {', '.join(map(str, removed))}, as push.keep_versions is {keep}")


def record_blessing(version_directory: Path) -> None:
    """Records that a version that was pushed unblessed is blessed by now, so that later models must beat it."""
    record = read_record(version_directory)
    if record is not None and record.get("blessed") is False:
        write_record(version_directory, {**record, "blessed": True})


def copy_version(saved_model: Path, target: Path, sha256: Mapping[str, str], record: Mapping[str, Any]) -> None:
    """Copies a SavedModel and writes its record, on the disk itself, `saved_model.pb` last."""
    if SAVED_MODEL not in sha256:
        raise ArtifactError(
            f"a model to push must hold {SAVED_MODEL}",
            received=f"none in {saved_model}",
            remedy="run the pipeline again with --force export",
        )
    names = sorted(sha256, key=lambda name: (name == SAVED_MODEL, name))
    sizes = {name: (saved_model / name).stat().st_size for name in names}
    disk.require_room(target.parent, sum(sizes.values()), f"the version in {target.parent}")
    target.mkdir()
    (target / RECORD).parent.mkdir()
    write_record(target, {**record, "pushed": now(), "files": sizes, "sha256": {name: sha256[name] for name in names}})
    for name in names:
        copy_file(saved_model / name, target / name, sha256[name])
    for directory in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        disk.flush(directory)


def copy_file(source: Path, target: Path, sha256: str) -> None:
    """Copies one file to the disk itself, and compares what was copied with its digest."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while data := reader.read(1 << 20):
            digest.update(data)
            writer.write(data)
        writer.flush()
        os.fsync(writer.fileno())
    if digest.hexdigest() != sha256:
        raise ArtifactError(
            "a model must be pushed as it was exported",
            received=f"{source}, which has changed since",
            remedy="run the pipeline again with --force export",
        )


def debris(base_path: Path) -> list[Path]:
    """What killed pushes left, where nobody holds the lock, under which a push may still be writing it."""
    return [path for prefix in (PARTIAL_PREFIX, REMOVED_PREFIX) for path in sorted(base_path.glob(f"{prefix}*"))]


def remove_debris(base_path: Path) -> None:
    """Removes what killed pushes left. The caller holds the lock, so none of it is still being written."""
    for path in debris(base_path):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def locked(
    base_path: Path,
    timeout_seconds: float = LOCK_TIMEOUT_SECONDS,
    show: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Holds the base path's lock, which the system releases when the process ends, however it ends.

    Raises:
        LockHeld: If another process holds it for longer.
    """
    with ProcessLock(base_path / LOCK_NAME, "push", timeout_seconds=timeout_seconds, show=show):
        yield


@contextmanager
def write_errors(base_path: Path) -> Iterator[None]:
    """Turns an `OSError` of writing below a base path into a rule and a way out."""
    try:
        yield
    except OSError as error:
        if disk.is_full(error):
            remedy = "then run the same command again: nothing of this push is visible there"
            raise disk.full_disk(error, base_path, "a model is copied", remedy) from error
        raise PipelineError(
            "the serving directory must be writable",
            received=f"{error.strerror or error} ({error.filename or base_path})",
            remedy="give the permission, move what is in the way, or choose another --push.serving_dir",
        ) from error
