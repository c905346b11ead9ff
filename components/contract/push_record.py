"""What a push records beside each copy of a model, and where later runs look for it."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contract.artifacts import Checkpoint, ServingModel
from components.contract.manifest import digest_of, write_json

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
    tokenizer = export.get("inputs", {}).get("tokenizer")
    return digest_of({"model": model_digest(checkpoint), "tokenizer": tokenizer, **made_by})


def facts_of(checkpoint: Checkpoint, blessed: bool) -> dict[str, Any]:
    """What every push of a model records about it, to the serving directory and to the Hub."""
    return {"blessed": blessed, "model_digest": model_digest(checkpoint)}


def write_record(version_directory: Path, record: Mapping[str, Any]) -> None:
    """Writes what a push records about a version, with a digest of its own."""
    write_json(version_directory / RECORD, {**record, OWN_DIGEST: _own_digest(record)})


def read_record(version_directory: Path) -> dict[str, Any] | None:
    """What a push recorded about a version; None unless it is whole, and every file it lists still has its size."""
    try:
        record: dict[str, Any] = json.loads((version_directory / RECORD).read_text("utf-8"))
        sizes: dict[str, int] = record["files"]
        complete = all((version_directory / name).stat().st_size == size for name, size in sizes.items())
        complete = complete and is_whole(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if complete else None


def is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a record is what was written. Those that earlier versions wrote have no digest of their own."""
    return record.get(OWN_DIGEST) in (None, _own_digest(record))


def _own_digest(record: Mapping[str, Any]) -> str:
    return digest_of({name: value for name, value in record.items() if name != OWN_DIGEST})
