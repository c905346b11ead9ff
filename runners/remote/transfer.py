"""Artifacts on their way: sent whole with the manifest last, brought as far as they are needed, compared both times."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.contract import manifest
from components.contract.elsewhere import files_elsewhere, note_files_elsewhere
from foundation import disk
from foundation.errors import DamagedArtifact, PipelineError
from foundation.terminal import BYTES, TERMINAL
from runners.remote.object_store import ObjectStore, RemoteObject, in_parallel

TEXTS = (".json", ".csv", ".txt", ".md", ".html")
MOST_TEXT_BYTES, MOST_OTHER_BYTES = 16 << 20, 16 << 10
"""Files up to these sizes come with an artifact that is only looked at, and reports of any size: no weights."""
ATTEMPTS = 3
FETCHING = ".fetching"
"""A directory in the staging root for what is on its way."""


def send(
    objects: ObjectStore,
    directory: Path,
    name: str,
    digests: Mapping[str, str],
    last: Sequence[str],
    before_last: Callable[[], None] = lambda: None,
) -> None:
    """Writes a directory's files as the objects below a name, and removes what else is there.

    The last ones make it count: they go first where an older one is replaced, and come when all others are there as
    they were sent. So whoever is killed on the way leaves nothing that anybody takes for whole; what is there already
    isn't sent again.

    Args:
        objects: The root's objects.
        directory: Where the files are.
        name: What the objects' names begin with.
        digests: SHA-256 of each file but the last ones, by path relative to the directory.
        last: The names of the files that make it count, in order.
        before_last: Called before the first of them is written; what it raises ends all.

    Raises:
        DamagedArtifact: If a file here isn't of its digest.
        PipelineError: If the store refuses or doesn't answer, or doesn't keep what it is given.
    """
    there = objects.list(name)
    objects.remove([f"{name}/{each}" for each in last if f"{name}/{each}" in there])
    files = {each: sums_of(directory / each) for each in [*digests, *last]}
    for each, sha256 in digests.items():
        if files[each].sha256 != sha256:
            raise DamagedArtifact(directory, f"{directory / each}, whose SHA-256 isn't its manifest's")
    total = sum(file.bytes for file in files.values())
    with TERMINAL.progress("sending", total, BYTES) as progress:

        def upload(each: str) -> None:
            objects.upload(directory / each, f"{name}/{each}")
            progress.advance(files[each].bytes)

        missing = [each for each in digests if not files[each].is_same(there.get(f"{name}/{each}"))]
        for attempt in range(1, ATTEMPTS + 1):
            in_parallel(upload, missing)
            there = objects.list(name)
            missing = [each for each in digests if not _is_there(objects, there, name, each, files[each])]
            if not missing:
                break
            if attempt == ATTEMPTS:
                raise _not_kept(objects, name, missing[0])
        objects.remove(there.keys() - {f"{name}/{each}" for each in digests})
        before_last()
        for each in last:
            upload(each)
            if not _is_there(objects, objects.list(name), name, each, files[each]):
                raise _not_kept(objects, name, each)


class Sums:
    """Size and checksums of a file.

    Attributes:
        bytes: Its size.
        md5: What S3 calls an ETag of an object that was sent in one piece.
        sha256: What manifests have.
    """

    def __init__(self, size: int, md5: str, sha256: str) -> None:
        self.bytes = size
        self.md5 = md5
        self.sha256 = sha256

    def is_same(self, there: RemoteObject | None) -> bool:
        """Whether an object certainly has the same bytes."""
        return there is not None and there.bytes == self.bytes and there.mark == self.md5


def sums_of(path: Path) -> Sums:
    """Reads a file once for its size and checksums."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            md5.update(data)
            sha256.update(data)
            size += len(data)
    return Sums(size, md5.hexdigest(), sha256.hexdigest())


def look(objects: ObjectStore, root: Path, name: str) -> bool:
    """Makes a directory here stand for an artifact of the remote root, with its manifest and none of its files yet.

    What stands here already and is the same artifact stays.

    Args:
        objects: The root's objects.
        root: The staging root.
        name: The artifact's.

    Returns:
        Whether the remote root has such an artifact.
    """
    written = objects.read(f"{name}/{manifest.NAME}")
    if written is None:
        return False
    directory = root / name
    with contextlib.suppress(OSError):
        if (directory / manifest.NAME).read_bytes() == written:
            return True
    try:
        names = list(json.loads(written)["files"])
    except (ValueError, KeyError, TypeError):
        names = []  # it is found damaged where it is read
    fresh = place_for(root)
    fresh.mkdir(parents=True)
    note_files_elsewhere(fresh, names)
    manifest_path = fresh / manifest.NAME
    manifest_path.write_bytes(written)
    disk.flush_tree(fresh)
    disk.make_directory(directory.parent)
    old = place_for(root)
    with contextlib.suppress(FileNotFoundError):
        os.rename(directory, old)
    os.rename(fresh, directory)
    disk.flush(directory.parent)
    shutil.rmtree(old, ignore_errors=True)
    return True


def bring(objects: ObjectStore, root: Path, name: str, *, whole: bool, more: Collection[str] = ()) -> None:
    """Brings the files of an artifact here that are elsewhere, each compared with its digest.

    Args:
        objects: The root's objects.
        root: The staging root.
        name: The artifact's, of which `look` has said that it is there.
        whole: Whether all are brought; otherwise those that people and reports read.
        more: Others that are brought, too.

    Raises:
        DamagedArtifact: If an object isn't what was sent.
        PipelineError: If the store refuses or doesn't answer.
    """
    directory = root / name
    elsewhere = files_elsewhere(directory)
    if not elsewhere:
        return
    files = manifest.parse(directory)["files"]
    wanted = {
        each: files[each]["sha256"]
        for each in elsewhere
        if each in files and (whole or each in more or _is_text(each, files[each]))
    }
    bring_files(objects, root, directory, name, wanted, {each: int(files[each]["bytes"]) for each in wanted})
    note_files_elsewhere(directory, elsewhere - wanted.keys() if not whole else ())


def bring_files(
    objects: ObjectStore,
    root: Path,
    directory: Path,
    name: str,
    digests: Mapping[str, str],
    sizes: Mapping[str, int],
) -> None:
    """Brings files here, each to its place when it is found to be of its digest.

    Args:
        objects: The root's objects.
        root: The staging root.
        directory: Where they go.
        name: What the objects' names begin with.
        digests: SHA-256 of each file, by path relative to the directory.
        sizes: Bytes of each.

    Raises:
        DamagedArtifact: If one isn't, at the third attempt.
    """
    with TERMINAL.progress("fetching", sum(sizes.values()), BYTES) as progress:

        def fetch(each: str) -> None:
            path = directory / each
            if not (path.is_file() and manifest.digest_of_file(path) == digests[each]):
                _fetch(objects, root, directory, name, each, digests[each])
            progress.advance(sizes[each])

        try:
            in_parallel(fetch, sorted(digests))
        except DamagedArtifact as damage:
            # Others have come meanwhile, which changes what the damaged directory is told by.
            raise DamagedArtifact(directory, damage.received) from damage


def _fetch(objects: ObjectStore, root: Path, directory: Path, name: str, each: str, sha256: str) -> None:
    """Brings one file here."""
    path = directory / each
    partial = place_for(root)
    disk.make_directory(partial.parent)
    try:
        for _ in range(ATTEMPTS):
            try:
                objects.download(f"{name}/{each}", partial)
            except FileNotFoundError as error:
                raise DamagedArtifact(directory, f"{objects.url(f'{name}/{each}')} is missing") from error
            if manifest.digest_of_file(partial) == sha256:
                path.parent.mkdir(parents=True, exist_ok=True)
                disk.flush(partial)
                os.replace(partial, path)
                return
    finally:
        partial.unlink(missing_ok=True)
    received = f"{objects.url(f'{name}/{each}')}, whose SHA-256 is no longer that of its manifest"
    raise DamagedArtifact(directory, received)


def is_whole(objects: ObjectStore, name: str) -> bool:
    """Whether every object of an artifact is what was sent: the copy here may be the one that is damaged."""
    try:
        content = json.loads(objects.read(f"{name}/{manifest.NAME}") or b"")
        described = [(each, int(file["bytes"]), str(file["sha256"])) for each, file in content["files"].items()]
        return manifest.is_as_sealed(content, manifest.OWN_DIGEST) and all(
            in_parallel(lambda each: objects.digest(f"{name}/{each[0]}") == each[1:], described)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def move(objects: ObjectStore, name: str, new_name: str) -> None:
    """Gives an artifact's objects another name. Whoever is killed on the way leaves the old one, or both."""
    there = list(objects.list(name))
    in_parallel(lambda each: objects.copy(each, f"{new_name}{each.removeprefix(name)}"), there)
    discard(objects, name, there)


def discard(objects: ObjectStore, name: str, there: Sequence[str] | None = None) -> None:
    """Removes an artifact's objects, its manifest first."""
    objects.remove([f"{name}/{manifest.NAME}"])
    objects.remove(objects.list(name) if there is None else there)


def _is_text(name: str, described: Mapping[str, Any]) -> bool:
    size = int(described["bytes"])
    if "/" not in name and Path(name).suffix in TEXTS:
        return True
    return size <= (MOST_TEXT_BYTES if Path(name).suffix in TEXTS else MOST_OTHER_BYTES)


def _is_there(objects: ObjectStore, there: Mapping[str, RemoteObject], name: str, each: str, file: Sums) -> bool:
    return objects.is_as_sent(there.get(f"{name}/{each}"), file.bytes, file.md5, file.sha256)


def _not_kept(objects: ObjectStore, name: str, each: str) -> PipelineError:
    return PipelineError(
        "the remote root must keep what it is given",
        received=f"{objects.url(f'{name}/{each}')}, which isn't what was sent, {ATTEMPTS} times",
        remedy="look whether something else writes below that prefix, and run the same command again",
    )


def place_for(root: Path) -> Path:
    """A free name on the staging root's disk for what is on its way."""
    return root / FETCHING / secrets.token_hex(8)
