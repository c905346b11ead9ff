"""A run for TensorBoard: `runs/<id>/tensorboard`, and a link in `tensorboard/` with the run's name.

`tensorboard --logdir ROOT/tensorboard` then shows all runs by their names, with their settings (HParams plugin) and the
evaluation's metrics. A link that leads nowhere, because its run was removed, is no run to TensorBoard.
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from components.contract.run_names import RUNS
from runners.tracking.tracker import Row, RunEnd, RunStart

DIRECTORY = "tensorboard"
"""Of a run's files, in its folder; and of the links, in the root."""
EVALUATION = "evaluation"


class TensorBoard:
    """Writes what TensorBoard reads, as soon as there is a training to show.

    Args:
        run: The run.
    """

    name = "tensorboard"

    def __init__(self, run: RunStart) -> None:
        self.run = run
        self._writers: dict[str, object] = {}

    def begin(self, run: RunStart) -> None:
        """Writes nothing yet: many runs train nothing."""

    def rows(self, rows: Sequence[Row]) -> None:
        """Writes rows; before the first of all, the run's settings."""
        self._begin()
        for row in rows:
            self._writer(row.kind).scalars(row.step, row.values)

    def end(self, end: RunEnd) -> None:
        """Writes the evaluation's metrics, and how the run ended; nothing where nothing was trained."""
        if not self._writers:
            return
        from runners.tracking.hyperparameters import session_end

        session = self._writer("")
        if end.metrics:
            session.scalars(end.step, {f"{EVALUATION}/{name}": value for name, value in end.metrics.items()})
        session.summary(session_end(end.status == "succeeded"))
        for name in list(self._writers):
            self._writer(name).close()
        self._writers = {}

    def _begin(self) -> None:
        if self._writers:
            return
        from runners.tracking.hyperparameters import session_start

        link_run(self.run)
        self._writer("").summary(session_start(self.run))

    def _writer(self, kind: str):  # type: ignore[no-untyped-def]  # the class is imported when it is needed
        from runners.tracking.event_files import EventWriter

        if kind not in self._writers:
            self._writers[kind] = EventWriter(self.run.directory / DIRECTORY / kind)
        return self._writers[kind]


def link_run(run: RunStart) -> Path:
    """Gives a run's files a name among all runs, by a relative link: `<name>-<last digits of the id>`, or its id."""
    links = run.root / DIRECTORY
    links.mkdir(exist_ok=True)
    link = links / (f"{run.name}-{run.id.rpartition('-')[2]}" if run.name else run.id)
    fresh = links / f".{run.id}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("..", RUNS, run.directory.name, DIRECTORY))
    os.replace(fresh, link)
    return link


def links_without_a_run(root: Path, gone: Collection[Path]) -> list[Path]:
    """The links whose runs aren't there, or are among those that go.

    Args:
        root: The pipeline root.
        gone: The folders of runs that go.
    """
    names = {folder.name for folder in gone}
    links = (each for each in (root / DIRECTORY).glob("*") if each.is_symlink())
    return sorted(each for each in links if not each.exists() or Path(os.readlink(each)).parent.name in names)
