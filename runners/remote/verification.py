"""Compares every object of a remote root with the digest that was written with it. Nothing of it is kept here."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.contract import manifest
from components.contract.push_record import OWN_DIGEST
from components.contract.push_record import RECORD as PUSH_RECORD
from components.contract.run_names import RECORD, RUNS
from foundation.errors import PipelineError
from foundation.terminal import BYTES, TERMINAL, Progress
from runners import run_record
from runners.housekeeping.verification import Verification
from runners.remote.object_store import ObjectStore, RemoteObject, in_parallel
from runners.remote.storage import is_artifact
from runners.store import ARTIFACTS, DAMAGED

Described = Sequence[tuple[str, int, str]]
"""The name, the size and the SHA-256 of each object that is to be compared."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A directory whose files are listed with their digests.

    Attributes:
        list_name: The list's name in the directory.
        own_digest: The key in the list under which its own digest stands.
        what: What the list is, in an error.
        fault_of_others: What is wrong with a file that it doesn't list.
        described: From the list's content to the files.
    """

    list_name: str
    own_digest: str
    what: str
    fault_of_others: str
    described: Callable[[Mapping[str, Any]], Described]


def verify(objects: ObjectStore) -> Verification:
    """Reads every artifact, pushed version and record of a run."""
    there = objects.list("")
    result = Verification()
    with TERMINAL.progress("comparing", sum(each.bytes for each in there.values()), BYTES) as progress:
        for name in sorted({"/".join(each.split("/")[:3]) for each in there if each.startswith(f"{ARTIFACTS}/")}):
            if DAMAGED in name:
                result.notes.append(f"{objects.url(name)} was set aside as damaged; --gc removes it")
            elif is_artifact(name) and f"{name}/{manifest.NAME}" not in there:
                result.notes.append(f"{objects.url(name)} is half sent, and no artifact; the next run completes it")
            elif is_artifact(name):
                result.artifacts += 1
                _check_artifact(objects, name, there, result, progress)
        for record in sorted(each for each in there if each.endswith(f"/{PUSH_RECORD}")):
            if not record.startswith(f"{ARTIFACTS}/"):
                result.versions += 1
                _check_version(objects, record.removesuffix(f"/{PUSH_RECORD}"), there, result, progress)
    for name in sorted(each for each in there if each.startswith(f"{RUNS}/") and each.endswith(f"/{RECORD}")):
        _check_record(objects, name, result)
    return result


def _check_artifact(
    objects: ObjectStore, name: str, there: Mapping[str, RemoteObject], result: Verification, progress: Progress
) -> None:
    def described(content: Mapping[str, Any]) -> Described:
        if not str(content["key"]).startswith(name.rsplit("/", 1)[-1]):
            raise ValueError(f"it is that of the key {content['key']}")
        return [(f"{name}/{each}", int(file["bytes"]), file["sha256"]) for each, file in content["files"].items()]

    fault = "which the manifest doesn't list"
    kind = Kind(manifest.NAME, manifest.OWN_DIGEST, "this artifact's manifest", fault, described)
    _check(objects, name, kind, there, result, progress)


def _check_version(
    objects: ObjectStore, name: str, there: Mapping[str, RemoteObject], result: Verification, progress: Progress
) -> None:
    def described(content: Mapping[str, Any]) -> Described:
        return [(f"{name}/{each}", int(size), content["sha256"][each]) for each, size in content["files"].items()]

    kind = Kind(PUSH_RECORD, OWN_DIGEST, "the record of a push", "which its push didn't bring", described)
    _check(objects, name, kind, there, result, progress)


def _check(
    objects: ObjectStore,
    name: str,
    kind: Kind,
    there: Mapping[str, RemoteObject],
    result: Verification,
    progress: Progress,
) -> None:
    path = f"{name}/{kind.list_name}"
    try:
        content = json.loads(objects.read(path) or b"")
        described = kind.described(content)
        if not manifest.is_as_sealed(content, kind.own_digest):
            raise ValueError("it is no longer what was written")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        result.damages.append(f"{objects.url(path)}, which can't be read as {kind.what}: {error}")
        return
    _compare(objects, described, result, progress)
    listed = {path, *(each for each, _, _ in described)}
    others = [each for each in there if each.startswith(f"{name}/") and each not in listed]
    result.damages += [f"{objects.url(each)}, {kind.fault_of_others}" for each in others]


def _check_record(objects: ObjectStore, name: str, result: Verification) -> None:
    try:
        content = json.loads(objects.read(name) or b"")
        if not manifest.is_as_sealed(content, run_record.OWN_DIGEST):
            raise ValueError("it is no longer what was written")
    except (ValueError, AttributeError, TypeError) as error:
        result.damages.append(f"{objects.url(name)}: {error}")


def _compare(objects: ObjectStore, described: Described, result: Verification, progress: Progress) -> None:
    def compare(one: tuple[str, int, str]) -> str | None:
        name, size, sha256 = one
        try:
            found, digest = objects.digest(name)
        except FileNotFoundError:
            return f"{objects.url(name)} is missing"
        except PipelineError as error:
            return f"{objects.url(name)}: {error.received}"
        progress.advance(size)
        if found != size:
            return f"{objects.url(name)} is of {found:,} bytes, not {size:,}"
        return None if digest == sha256 else f"{objects.url(name)}, whose SHA-256 is no longer that of its manifest"

    result.files += len(described)
    result.bytes += sum(size for _, size, _ in described)
    result.damages += [fault for fault in in_parallel(compare, described) if fault is not None]
