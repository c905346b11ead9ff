"""Bodies of the status and metadata requests."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from serving.server.status import VersionStatus


def status_body(statuses: Iterable[VersionStatus]) -> bytes:
    """The answer to `GET /v1/models/NAME`: the newest version first, numbers as strings."""
    listed = [
        {
            "version": str(status.version),
            "state": status.state,
            "status": {"error_code": status.code.name, "error_message": status.message},
        }
        for status in sorted(statuses, key=lambda status: -status.version)
    ]
    return to_body({"model_version_status": listed})


def metadata_body(model: str, version: int, signature_definitions: Mapping[str, Any]) -> bytes:
    """The answer to `GET /v1/models/NAME/metadata`.

    Args:
        model: The model's name.
        version: The version whose signatures these are.
        signature_definitions: A `SignatureDefMap` message as JSON.
    """
    return to_body(
        {
            "model_spec": {"name": model, "signature_name": "", "version": str(version)},
            "metadata": {"signature_def": signature_definitions},
        }
    )


def to_body(value: Any) -> bytes:
    """JSON as protobuf's own printer lays it out, one blank a level."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")
