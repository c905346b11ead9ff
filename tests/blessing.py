"""What the validate step leaves for a model, without asking it."""

from pathlib import Path

from components.contract import manifest, reports
from components.contract.artifacts import InfraBlessing, ServingModel
from tests import reports as complete


def bless(directory: Path, model: ServingModel) -> InfraBlessing:
    """Word in a directory, made if it doesn't exist, that a model was validated."""
    directory.mkdir(parents=True, exist_ok=True)
    reports.write(directory / "report.json", complete.validation(model.digest))
    manifest.write(directory, {"type": "InfraBlessing"})
    return InfraBlessing(directory)
