"""The manifest of an artifact: what made it, from what, and every file's digest.

A directory that holds `manifest.json` is finished and immutable. The file is written last.
"""

import dataclasses
import datetime
import hashlib
import json
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from components.errors import ArtifactError

NAME = "manifest.json"
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
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(directory: Path) -> list[Path]:
    """Every file below a directory but the manifest, sorted by its path relative to the directory."""
    paths = (path for path in directory.rglob("*") if path.is_file() and path != directory / NAME)
    return sorted(paths, key=lambda path: path.relative_to(directory).as_posix())


def describe_files(directory: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of every file below a directory, by path relative to it."""
    return {
        path.relative_to(directory).as_posix(): {"bytes": path.stat().st_size, "sha256": digest_of_file(path)}
        for path in files_below(directory)
    }


def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that can change what a step makes."""
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


def write(directory: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Describes the files below a directory and writes its manifest, which makes it finished.

    Args:
        directory: Holds everything that the step made.
        facts: type, component, version, key, params, inputs and sources of the step.

    Returns:
        The manifest as written.
    """
    files = describe_files(directory)
    content = {
        **facts,
        "digest": digest_of({"type": facts["type"], "files": {name: file["sha256"] for name, file in files.items()}}),
        "files": files,
        "created": now(),
        "library_versions": library_versions(),
    }
    write_json(directory / NAME, content)
    return content


def read(directory: Path) -> dict[str, Any]:
    """A finished artifact's manifest.

    Raises:
        ArtifactError: If the directory has none, or it can't be read, or a file is missing or of another size.
    """
    remedy = f"remove {directory} and run the pipeline again"
    try:
        content: dict[str, Any] = json.loads((directory / NAME).read_text("utf-8"))
        files = content["files"]
    except FileNotFoundError as error:
        raise ArtifactError("an artifact has a manifest", received=f"none in {directory}", remedy=remedy) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            "an artifact's manifest is the JSON that a step wrote",
            received=f"{directory / NAME}: {error}",
            remedy=remedy,
        ) from error
    for name, file in files.items():
        path = directory / name
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            raise ArtifactError(
                "an artifact's files are those that its manifest lists",
                received=f"{path} is missing or not of {file['bytes']} bytes",
                remedy=remedy,
            )
    return content


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON, complete or not at all: to a file beside it, then renamed."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
