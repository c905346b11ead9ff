"""What a tracker is told of a run."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
"""What stands in an address before its host: a user and, often, a password."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Numbers of a training at one of its steps.

    Attributes:
        kind: `train` or `validation`.
        step: The optimizer step, from 1.
        values: The numbers by name.
    """

    kind: str
    step: int
    values: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStart:
    """A run that begins.

    Attributes:
        id: Its id.
        name: What the user calls it.
        directory: `runs/<id>`.
        root: The pipeline root.
        configuration: The name or path of the configuration.
        settings: The settings by `section.key`, without credentials.
        earlier: What this tracker has kept of the run that this one goes on from; None where it goes on from none.
        earlier_id: The id of that run.
        keep: Keeps something for a run that goes on from this one.
    """

    id: str
    name: str | None
    directory: Path
    root: Path
    configuration: str | None
    settings: Mapping[str, Any]
    earlier: Mapping[str, Any] | None
    earlier_id: str | None
    keep: Callable[[Mapping[str, Any]], None]

    @property
    def called(self) -> str:
        """Its name, else its id."""
        return self.name or self.id


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunEnd:
    """How a run ended.

    Attributes:
        status: `succeeded`, `failed` or `interrupted`.
        step: The last optimizer step; 0 where nothing was trained.
        metrics: The evaluation's metrics.
        facts: The verdict and where the model is, in words, by name.
        files: The report and the model's description, as far as there are any.
    """

    status: str
    step: int
    metrics: Mapping[str, float]
    facts: Mapping[str, str]
    files: Sequence[Path]


class Tracker(Protocol):
    """Takes what a run tells.

    Each method may take long and may fail: it is called in a thread of its own, again and again until it succeeds, and
    what it has done by then must not be done twice.

    Attributes:
        name: What it is called in a line on the terminal.
    """

    name: str

    def begin(self, run: RunStart) -> None:
        """A run begins."""

    def rows(self, rows: Sequence[Row]) -> None:
        """A training has come to these rows, by rising steps of each kind."""

    def end(self, end: RunEnd) -> None:
        """The run is over."""


def flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """A configuration as dotted keys, without the credentials that addresses may hold."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{above}{key}.")
        elif isinstance(value, str):
            yield f"{above}{key}", without_credentials(value)
        elif isinstance(value, list | tuple):
            yield f"{above}{key}", [without_credentials(each) if isinstance(each, str) else each for each in value]
        else:
            yield f"{above}{key}", value


def without_credentials(text: str) -> str:
    """A text whose addresses have no user and password."""
    return CREDENTIALS.sub("", text)


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are numbers with an end."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
