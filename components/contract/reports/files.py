"""How a report is written to its JSON file and read back."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from components.contract import manifest
from foundation.errors import DamagedArtifact

Read = TypeVar("Read")


def write(path: Path, report: Any) -> None:
    """Writes a report, or a sequence of rows, as JSON, complete or not at all.

    Args:
        path: The file.
        report: A dataclass, or a list or tuple of some.
    """
    manifest.write_json(path, as_plain(report))


def as_plain(value: Any) -> Any:
    """A report as JSON has it: dataclasses as dictionaries without what has its default, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {
            field.name: as_plain(content)
            for field, content in fields
            if field.default is dataclasses.MISSING or content != field.default
        }
    if isinstance(value, Mapping):
        return {key: as_plain(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(content) for content in value]
    return value


def from_plain(kind: type[Read], content: Any, path: Path) -> Read:
    """A report from the content of its file.

    Args:
        kind: The report's dataclass.
        content: What JSON holds.
        path: The file, whose directory is the artifact.

    Raises:
        DamagedArtifact: If a key is missing, unknown or of another type: another version of the step wrote the file.
    """
    import dacite

    if not isinstance(content, Mapping):
        raise DamagedArtifact(path.parent, f"{path}, which holds no {kind.__name__}")
    try:
        # Strict, so that no key is passed over; JSON has lists where a report has tuples.
        return dacite.from_dict(kind, content, dacite.Config(strict=True, cast=[tuple]))
    except dacite.DaciteError as error:
        raise DamagedArtifact(
            path.parent, f"{path}, which is no {kind.__name__} of this version of the program: {error}"
        ) from error


class Report(Protocol):
    """What every step's report has."""

    @property
    def summary(self) -> str:
        """What came out, in one line for the person who watches the run."""
