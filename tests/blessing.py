"""What the validate step leaves for a model, without asking it."""

import json
from pathlib import Path

from components.contract import manifest
from components.contract.artifacts import InfraBlessing, ServingModel


def bless(directory: Path, model: ServingModel) -> InfraBlessing:
    """Word in a directory, made if it doesn't exist, that a model was validated."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_text(json.dumps({"summary": "validated", "model": model.digest}))
    manifest.write(directory, {"type": "InfraBlessing"})
    return InfraBlessing(directory)
