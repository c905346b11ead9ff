"""A pipeline root as commands and programs open it, wherever it is."""

from collections.abc import Sequence
from pathlib import Path

from components.config.pipeline_config import Config
from runners.housekeeping.collection import Removal
from runners.housekeeping.verification import Verification, verify
from runners.run_record import RunRecord
from runners.storage import Storage


class PipelineRoot:
    """A directory of this machine, in which all that there is stands. A root elsewhere brings here what is needed.

    Attributes:
        path: The directory.
        name: What messages call the root.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    @property
    def storage(self) -> Storage | None:
        """What keeps the artifacts; None for the directory itself."""
        return None

    def bring_named(self, config: Config) -> None:
        """Brings what the settings may name by a run: the models that runs trained."""

    def bring_paths(self, config: Config) -> None:
        """Brings what the settings name by paths, and the versions that were pushed."""

    def bring_served(self, record: RunRecord) -> None:
        """Brings the version that a run has pushed, for the servers of this machine."""

    def bring_runs(self, names: Sequence[str]) -> None:
        """Brings what is shown of runs that stand side by side."""

    def bring_inventory(self) -> None:
        """Brings what is said of each run and artifact where they are listed."""

    def verify(self) -> Verification:
        """Compares everything in the root, and what was pushed from there, with its digest."""
        return verify(self.path)

    def discard(self, removals: Sequence[Removal]) -> None:
        """Removes elsewhere what was removed here."""
