"""Versions of a served model in a remote root: those of a base path here are made those there, and the other way.

A version is sent like an artifact: `saved_model.pb` last but one, so that a server that reads the bucket finds no half
of one, and the record of its push last, without which no pipeline takes it for a version.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from components.contract.elsewhere import files_elsewhere, note_files_elsewhere
from components.contract.push_record import RECORD, read_record
from foundation import disk
from foundation.errors import PipelineError
from foundation.versions import SAVED_MODEL, parse_version, versions
from runners.remote import transfer
from runners.remote.object_store import ObjectStore, RemoteObject

KNOWN = ".remote_versions.json"
"""A hidden file in a base path here: versions that the remote root has had. One of them that is gone was removed."""


def take(objects: ObjectStore, root: Path, name: str) -> None:
    """Makes a base path here show the versions that the remote root has, with their records and none of their files.

    A version that was written here and never sent stays.

    Args:
        objects: The root's objects.
        root: The staging root.
        name: The base path's, relative to the root.
    """
    there = _records(objects, name)
    base_path = root / name
    if not there and not base_path.is_dir():
        return
    disk.make_directory(base_path)
    for gone in _known(base_path) - there.keys():
        shutil.rmtree(base_path / gone, ignore_errors=True)
    for version in there:
        record = objects.read(f"{name}/{version}/{RECORD}")
        if record is not None and not _has(base_path / version, record):
            _sketch(root, base_path / version, record)
    _write_known(base_path, there.keys())


def bring(objects: ObjectStore, root: Path, name: str, numbers: Collection[int]) -> None:
    """Brings the files of versions here, each compared with its digest.

    Raises:
        DamagedArtifact: If one isn't what was pushed.
    """
    for number, path in versions(root / name).items() if (root / name).is_dir() else ():
        elsewhere = files_elsewhere(path)
        record = read_record(path)
        if number not in numbers or not elsewhere or record is None:
            continue
        digests = {each: record["sha256"][each] for each in elsewhere}
        sizes = {each: record["files"][each] for each in elsewhere}
        transfer.bring_files(objects, root, path, f"{name}/{path.name}", digests, sizes)
        note_files_elsewhere(path, ())


def numbers_to_compare(base_path: Path) -> set[int]:
    """The last blessed version, and the last blessed one with other weights: what a new model may have to beat."""
    records = {number: read_record(path) for number, path in _versions(base_path).items()}
    blessed = {number: facts.get("model_digest") for number, facts in records.items() if facts and facts.get("blessed")}
    if not blessed:
        return set()
    last = max(blessed)
    return {last, *[number for number in sorted(blessed) if blessed[number] != blessed[last]][-1:]}


def latest_number(base_path: Path) -> set[int]:
    """The version that servers take; empty where there is none."""
    return set(list(_versions(base_path))[-1:])


def give(objects: ObjectStore, root: Path, name: str, before_last: Callable[[], None]) -> None:
    """Makes the remote root have the versions that a base path here has; called while both are locked.

    Args:
        objects: The root's objects.
        root: The staging root.
        name: The base path's, relative to the root.
        before_last: Called before a version becomes one; what it raises ends all.
    """
    base_path = root / name
    there = objects.list(name)
    here = {path.name: path for path in _versions(base_path).values() if read_record(path) is not None}
    for version, path in here.items():
        written = (path / RECORD).read_bytes()
        if f"{name}/{version}/{RECORD}" in there and objects.read(f"{name}/{version}/{RECORD}") == written:
            continue
        if files_elsewhere(path):  # only its record was changed, such as by a late blessing
            objects.write(f"{name}/{version}/{RECORD}", written)
            continue
        record: dict[str, Any] = json.loads(written)
        digests = {each: sha256 for each, sha256 in record["sha256"].items() if each != SAVED_MODEL}
        transfer.send(objects, path, f"{name}/{version}", digests, [SAVED_MODEL, RECORD], before_last)
    for version in _numbers(there, name) - here.keys():
        # First what makes it count, for servers and for pipelines.
        objects.remove([f"{name}/{version}/{each}" for each in (SAVED_MODEL, RECORD)])
        objects.remove(objects.list(f"{name}/{version}"))
    _write_known(base_path, here.keys())


def _records(objects: ObjectStore, name: str) -> dict[str, RemoteObject]:
    """The records of the versions that are whole, by the versions' names."""
    there = objects.list(name)
    found = {version: there.get(f"{name}/{version}/{RECORD}") for version in _numbers(there, name)}
    return {version: record for version, record in found.items() if record is not None}


def _numbers(there: Mapping[str, RemoteObject], name: str) -> set[str]:
    children = {each.removeprefix(f"{name}/").split("/")[0] for each in there}
    return {child for child in children if parse_version(child) is not None}


def _versions(base_path: Path) -> dict[int, Path]:
    with contextlib.suppress(OSError):
        return versions(base_path)
    return {}


def _has(directory: Path, record: bytes) -> bool:
    with contextlib.suppress(OSError):
        return (directory / RECORD).read_bytes() == record
    return False


def _sketch(root: Path, directory: Path, record: bytes) -> None:
    """Puts a version's record in its place. Where only the record is another one, the files stay."""
    try:
        files, sha256 = {**json.loads(record)["files"]}, {**json.loads(record)["sha256"]}
    except (ValueError, KeyError, TypeError):
        return  # no push of this program wrote it
    before = read_record(directory)
    if before is not None and before.get("sha256") == sha256:
        (directory / RECORD).write_bytes(record)
        return
    fresh = transfer.place_for(root)
    (fresh / RECORD).parent.mkdir(parents=True)
    (fresh / RECORD).write_bytes(record)
    note_files_elsewhere(fresh, list(files))
    old = transfer.place_for(root)
    with contextlib.suppress(FileNotFoundError):
        os.rename(directory, old)
    os.rename(fresh, directory)
    shutil.rmtree(old, ignore_errors=True)


def _known(base_path: Path) -> set[str]:
    try:
        return {str(each) for each in json.loads((base_path / KNOWN).read_bytes())}
    except (OSError, ValueError, TypeError):
        return set()


def _write_known(base_path: Path, names: Collection[str]) -> None:
    with contextlib.suppress(OSError, PipelineError):
        (base_path / KNOWN).write_text(json.dumps(sorted(names)))
