"""The seal of a pushed folder: `push.json`, which says that this pipeline made the folder, and what is in it."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contract.manifest import digest_of_file, write_json
from foundation.errors import ArtifactError

CARD = "README.md"
SEAL = "push.json"
"""The file in a pushed folder that holds the SHA-256 of every other file."""


def seal(folder: Path, facts: Mapping[str, Any]) -> dict[str, str]:
    """Writes `push.json` into a folder: the facts, and the SHA-256 of every file by path; returns the digests."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {path: digest_of_file(folder / path) for path in paths if path != SEAL}
    write_json(folder / SEAL, {"pushed_by": "masked-lm-pipeline", **facts, "files": files})
    return files


def sealed_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a sealed folder by path, compared with the files as they are now.

    Raises:
        ArtifactError: If this pipeline didn't make the folder, or it was changed since it was sealed.
    """
    files = parse_seal((folder / SEAL).read_bytes()) if (folder / SEAL).is_file() else None
    if files is None:
        raise ArtifactError(
            f"a folder to push must be one that this pipeline made, with its {SEAL}",
            received=str(folder),
            remedy="push by running the pipeline, with --push.hub_model_id",
        )
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {SEAL}
    changed = [path for path in files if path not in found or digest_of_file(folder / path) != files[path]]
    if changed or found - files.keys():
        raise ArtifactError(
            "a folder must be pushed as it was made",
            received=f"{folder}, in which {(changed or sorted(found - files.keys()))[0]} is not as it was",
            remedy="run the pipeline again with --force push",
        )
    return files


def parse_seal(text: bytes) -> dict[str, str] | None:
    """The digests by path of a `push.json`; None if this pipeline didn't write it."""
    try:
        content = json.loads(text)
        return {str(name): str(sha256) for name, sha256 in content["files"].items()} if content["pushed_by"] else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def git_blob(path: Path) -> str:
    """The id that git gives a file's content: SHA-1 of `blob`, its size, a zero byte and the bytes."""
    digest = hashlib.sha1(f"blob {os.path.getsize(path)}\0".encode())
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()
