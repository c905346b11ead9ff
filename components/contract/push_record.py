"""What a push records beside each copy of a model, and where later runs look for it."""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contract.artifacts import Checkpoint, ServingModel
from components.contract.elsewhere import files_elsewhere
from components.contract.manifest import digest_of, digest_of_file, is_as_sealed, sealed, write_json

RECORD = "assets.extra/pushed.json"
"""The record's path in a version's directory. On the Hub the record is `components.hub.seal.SEAL`."""
OWN_DIGEST = "record_digest"
"""Its key of the SHA-256 of all its other keys."""


@dataclasses.dataclass(frozen=True)
class PushedTo:
    """Where models are pushed to.

    Attributes:
        base_path: The model's directory below the serving directory, with a directory a version; a relative one is
            below the pipeline root.
        hub_model_id: The model's repository on the Hub, if any.
    """

    base_path: str
    hub_model_id: str | None = None

    def below(self, root: str) -> "PushedTo":
        """The same places, the base path made absolute.

        Args:
            root: The pipeline root.
        """
        return dataclasses.replace(self, base_path=os.path.abspath(os.path.join(root, self.base_path)))


def model_digest(checkpoint: Checkpoint) -> str:
    """SHA-256 over the trained model's files alone: training anew to the same weights gives the same."""
    files = checkpoint.manifest["files"]
    return digest_of({name: file["sha256"] for name, file in files.items() if name.startswith("model/")})


def identity_of(model: ServingModel, checkpoint: Checkpoint) -> str:
    """A digest that is equal for models that answer alike: those with equal weights that were exported alike.

    The exported files can't serve for that: TensorFlow numbers and orders them anew in each export.
    """
    export = model.manifest
    made_by = {name: export.get(name) for name in ("component", "version", "params", "library_versions")}
    if export.get("sources"):
        made_by["sources"] = export["sources"]  # such as the hardware that chose the precision
    tokenizer = export.get("inputs", {}).get("tokenizer")
    return digest_of({"model": model_digest(checkpoint), "tokenizer": tokenizer, **made_by})


def facts_of(checkpoint: Checkpoint, blessed: bool) -> dict[str, Any]:
    """What every push of a model records about it, to the serving directory and to the Hub."""
    return {"blessed": blessed, "model_digest": model_digest(checkpoint)}


def write_record(version_directory: Path, record: Mapping[str, Any]) -> None:
    """Writes what a push records about a version, with the record's own digest; complete or not at all."""
    write_json(version_directory / RECORD, sealed(record, OWN_DIGEST))


def read_record(version_directory: Path) -> dict[str, Any] | None:
    """What a push recorded about a version; None unless it is as written, and every file that it lists has its size."""
    try:
        record: dict[str, Any] = json.loads((version_directory / RECORD).read_text("utf-8"))
        sizes: dict[str, int] = record["files"]
        here = sizes.keys() - files_elsewhere(version_directory)
        complete = all((version_directory / name).stat().st_size == sizes[name] for name in here)
        complete = complete and is_as_sealed(record, OWN_DIGEST)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if complete else None


def damage_of(version_directory: Path, record: Mapping[str, Any]) -> str | None:
    """Compares the files of a version with their digests; which of them isn't what was pushed, None where all are.

    Args:
        version_directory: The version.
        record: What `read_record` read there. Those of earlier versions of this program have no digests.
    """
    elsewhere = files_elsewhere(version_directory)
    for name, sha256 in record.get("sha256", {}).items():
        if name in elsewhere:  # whoever brings it here compares it
            continue
        path = version_directory / name
        try:
            status = path.stat()
            written = _digest_of(path, status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError as error:
            return f"{path} can't be read: {error.strerror or error}"
        if written != sha256:
            return f"{path}, whose SHA-256 is no longer that of what was pushed"
    return None


# A run asks for its plan and when it comes to the push; a file that nobody has touched since isn't read twice.
@functools.lru_cache(maxsize=4096)
def _digest_of(path: Path, inode: int, size: int, modified: int) -> str:
    return digest_of_file(path)
