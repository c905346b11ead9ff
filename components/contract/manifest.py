"""The manifest of an artifact: what made it, from what, and every file's digest.

A directory that holds `manifest.json` is finished and immutable. The file is written last.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from components.contract.elsewhere import files_elsewhere
from foundation import disk
from foundation.errors import ArtifactError, DamagedArtifact
from foundation.terminal import TERMINAL

NAME = "manifest.json"
OWN_DIGEST = "manifest_digest"
"""The name under which a manifest has its own digest."""
DIGEST_DIGITS = 64
LIBRARIES = (
    "tensorflow",
    "tf-keras",
    "transformers",
    "tokenizers",
    "datasets",
    "evaluate",
    "huggingface-hub",
    "tensorflow-text",
    "tensorflow-serving-api",
    "numpy",
)


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no blanks, no NaN.

    Dataclasses and paths are written as their fields and text; anything else that JSON lacks is an error. A field
    that can't change what a step makes is left out: it says so by `metadata={"key": False}`.

    Raises:
        TypeError: For a value without a canonical form, so that no key ever rests on a guess.
        ValueError: For NaN and infinities.
    """

    def default(item: Any) -> Any:
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            fields = [field for field in dataclasses.fields(item) if field.metadata.get("key", True)]
            return {field.name: getattr(item, field.name) for field in fields}
        if isinstance(item, Path):
            return os.fspath(item)
        raise TypeError(f"{type(item).__name__} has no canonical form, so it can't be part of a key: {item!r}")

    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=default
    )


def digest_of(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file, TERMINAL.following(path, file):
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(directory: Path, without: Collection[str] = ()) -> list[Path]:
    """Every file below a directory but the manifest, sorted by its path relative to the directory.

    Args:
        directory: Where to look.
        without: Names in the directory that are left out, with all that is below them.
    """
    left_out = {NAME, *without}
    paths = (path for path in directory.rglob("*") if path.relative_to(directory).parts[0] not in left_out)
    paths = (path for path in paths if path.is_file())
    return sorted(paths, key=lambda path: path.relative_to(directory).as_posix())


def describe_files(directory: Path, without: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of the files below a directory, by path relative to it; see `files_below`."""
    paths = files_below(directory, without)
    with TERMINAL.counting_bytes("computing digests", sum(path.stat().st_size for path in paths)):
        return {
            path.relative_to(directory).as_posix(): {"bytes": path.stat().st_size, "sha256": digest_of_file(path)}
            for path in paths
        }


def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that can change what a step makes."""
    from importlib import metadata  # only here, so that --help is quick

    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def now() -> str:
    """The time, UTC, to the second, in ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def write(
    directory: Path, facts: Mapping[str, Any], *, without: Collection[str] = (), varying: Collection[str] = ()
) -> dict[str, Any]:
    """Describes the files below a directory and writes its manifest, which makes it finished.

    All of it is on the disk itself afterwards, the manifest last.

    Args:
        directory: Holds everything that the step made.
        facts: type, component, version, key, params, inputs and sources of the step.
        without: Names in the directory that are no part of what the step made.
        varying: Names in the directory of what differs from run to run and means nothing. The step's key stands for
            it in the artifact's digest; each file's own digest is written like any other's.

    Returns:
        The manifest as written.
    """
    disk.flush_tree(directory)
    files = describe_files(directory, without)
    lasting = {name: file["sha256"] for name, file in files.items() if Path(name).parts[0] not in varying}
    digested = {"type": facts["type"], "files": lasting, **({"key": facts["key"]} if varying else {})}
    content = {**facts, "digest": digest_of(digested), "files": files}
    content |= {"created": now(), "library_versions": library_versions()}
    content = sealed(content, OWN_DIGEST)
    write_json(directory / NAME, content)
    return content


def sealed(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a file of JSON is to hold, with the digest of all else of it under a name."""
    # As it will be read: with keys that are texts, whatever they are here.
    content = json.loads(canonical_json({key: value for key, value in content.items() if key != name}))
    return {**content, name: digest_of(content)}


def is_as_sealed(content: Mapping[str, Any], name: str) -> bool:
    """Whether what a file holds has the digest that it says.

    Earlier versions wrote files without one. They are told from those in which the digest's own name is damaged.
    """

    def digest_without(left_out: str) -> str:
        return digest_of({key: value for key, value in content.items() if key != left_out})

    if name in content:
        return bool(content[name] == digest_without(name))
    digests = [key for key, value in content.items() if isinstance(value, str) and len(value) == DIGEST_DIGITS]
    return not any(content[key] == digest_without(key) for key in digests)


def read(directory: Path) -> dict[str, Any]:
    """A finished artifact's manifest, after a look at the sizes of its files; `verify` compares their digests.

    Files that are elsewhere are not looked at: whoever brings them here compares them.

    Raises:
        ArtifactError: If the directory has none.
        DamagedArtifact: If the manifest can't be read, or a file is missing or of another size.
    """
    content = parse(directory)
    elsewhere = files_elsewhere(directory)
    for name, described in content["files"].items():
        if name in elsewhere:
            continue
        file, size = directory / name, int(described["bytes"])
        if not file.is_file() or file.stat().st_size != size:
            raise DamagedArtifact(directory, f"{file} is missing or not of {size:,} bytes")
    return content


def parse(directory: Path) -> dict[str, Any]:
    """A finished artifact's manifest, whatever became of its files.

    Raises:
        ArtifactError: If the directory has none.
        DamagedArtifact: If it can't be read.
    """
    path = directory / NAME
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        described = [(int(file["bytes"]), file["sha256"]) for file in content["files"].values()]
        if not all(isinstance(digest, str) for digest in (content["digest"], *(digest for _, digest in described))):
            raise TypeError("a digest must be a text")
        is_whole = is_as_sealed(content, OWN_DIGEST)
    except FileNotFoundError as error:
        raise ArtifactError(
            "an artifact must have a manifest",
            received=f"none in {directory}",
            remedy=f"remove {directory} and run the pipeline again",
        ) from error
    except OSError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedArtifact(directory, f"{path}, which can't be read as a manifest: {reason}") from error
    if not is_whole:
        raise DamagedArtifact(directory, f"{path}, which is no longer what was written")
    return content


Seen = dict[Path, tuple[int, int, int]]
"""Files that were found undamaged, by path: inode, size in bytes and time of the last change in nanoseconds."""


def verify(directory: Path, content: Mapping[str, Any], seen: Seen) -> None:
    """Compares every file of a finished artifact with its digest.

    Args:
        directory: The artifact's.
        content: Its manifest.
        seen: What was compared before, and what is added here: a file that nobody has touched since isn't read twice.

    Raises:
        DamagedArtifact: For the first file that isn't what was written.
        ArtifactError: If there are more files. Libraries read whole directories, and would take one for the step's.
    """
    with TERMINAL.counting_bytes("comparing digests", sum(int(file["bytes"]) for file in content["files"].values())):
        for name in content["files"]:
            verify_file(directory, content, name, seen)
    for path in files_below(directory):
        name = path.relative_to(directory).as_posix()
        # Systems keep notes of their own in hidden files, which nobody reads.
        if name not in content["files"] and not path.name.startswith("."):
            raise ArtifactError(
                "an artifact must hold nothing but what its step wrote",
                received=str(path),
                remedy="move that file elsewhere, and run the same command again",
            )


def verify_file(directory: Path, content: Mapping[str, Any], name: str, seen: Seen | None = None) -> Path:
    """Compares one file of a finished artifact with its digest; see `verify`.

    Returns:
        The file's path.

    Raises:
        DamagedArtifact: If it isn't what was written, or the manifest doesn't list it.
    """
    path = directory / name
    if name not in content["files"] or not path.is_file():
        raise _damaged(directory, content, f"{path} is missing")
    status = path.stat()
    mark = (status.st_ino, status.st_size, status.st_mtime_ns)
    if seen is not None and seen.get(path) == mark:
        return path
    if digest_of_file(path) != content["files"][name]["sha256"]:
        raise _damaged(directory, content, f"{path}, whose SHA-256 is no longer that of its manifest")
    if seen is not None:
        seen[path] = mark
    return path


def _damaged(directory: Path, content: Mapping[str, Any], received: str) -> DamagedArtifact:
    """The error of a file that isn't what a manifest says, which may be that of an artifact that is replaced by now."""
    was_replaced = False
    with contextlib.suppress(ArtifactError, OSError):
        was_replaced = parse(directory) != content
    return DamagedArtifact(directory, received, was_replaced=was_replaced)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON, complete or not at all: to a file beside it, then renamed."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        disk.flush(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # which would hide what happened
            partial.unlink(missing_ok=True)
        raise
