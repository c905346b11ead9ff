"""Follows a run on behalf of its trackers. Whatever fails here ends no run."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.contract import manifest
from components.contract.artifacts import LOGS, Artifact, Checkpoint, Evaluation, Pushed, ServingModel
from components.contract.component import Component
from components.contract.run_names import folders
from foundation.errors import ArtifactError, PipelineError
from runners.run_record import RunRecord, read
from runners.store import PARTIAL
from runners.tracking.delivery import LAST_WAIT, Delivery
from runners.tracking.follower import Follower, rows_of
from runners.tracking.tensorboard import TensorBoard
from runners.tracking.tracker import Row, RunEnd, RunStart, Tracker, finite, flat

KEPT = "tracking.json"
"""What the trackers keep in a run's folder for a run that goes on from it."""
MOST_LOOKED_AT = 50
"""How many earlier runs are looked at for the one that a run goes on from."""
DESCRIPTION = "MODEL.md"


class Tracking:
    """Tells the trackers, and TensorBoard, of a run.

    Args:
        trackers: Those that the user asks for.
        show: Called with a line of text to show.
    """

    def __init__(self, trackers: Sequence[Tracker], show: Callable[[str], None]) -> None:
        self.trackers = trackers
        self.show = show
        self._deliveries: list[Delivery] = []
        self._seen: dict[str, int] = {}
        self._artifacts: list[Artifact] = []
        self._record: RunRecord | None = None

    def begin(self, record: RunRecord) -> None:
        """A run has begun."""
        self._record, self._seen, self._artifacts = record, {}, []
        with self._no_failure():
            board = TensorBoard(self._start(record, TensorBoard.name, None))
            self._deliveries = [Delivery(board, self.show)]
            # Nobody else than a tracker asks which run was cut off.
            earlier = earlier_run(record) if self.trackers else None
            for tracker in self.trackers:
                start = self._start(record, tracker.name, earlier)
                delivery = Delivery(tracker, self.show)
                delivery.put(lambda tracker=tracker, start=start: tracker.begin(start))  # type: ignore[misc]
                self._deliveries.append(delivery)

    @contextlib.contextmanager
    def following(self, component: Component[Any], directory: Path) -> Iterator[None]:
        """Follows a step while it runs, if it is one that trains.

        Args:
            component: The step.
            directory: Where its artifact will stand.
        """
        follower = None
        if component.output is Checkpoint:
            with self._no_failure():
                logs = directory.with_name(directory.name + PARTIAL) / LOGS
                follower = Follower(logs, self._tell, self._seen)
        try:
            yield
        finally:
            if follower is not None:
                with self._no_failure():
                    follower.stop()

    def made(self, artifact: Artifact) -> None:
        """A step has come to its end, or was cached."""
        with self._no_failure():
            self._artifacts.append(artifact)
            if isinstance(artifact, Checkpoint) and (rows := rows_of(artifact, self._seen)):
                self._tell(rows)

    def end(self, status: str, seconds: float = LAST_WAIT) -> None:
        """The run is over, and its report is written. Waits a moment for what is under way."""
        if self._record is None:
            return
        with self._no_failure():
            end = self._end(self._record, status)
            for delivery in self._deliveries:
                delivery.put(lambda delivery=delivery: delivery.tracker.end(end))  # type: ignore[misc]
        for delivery in self._deliveries:
            with self._no_failure():
                delivery.close(seconds)
        self._deliveries, self._record = [], None

    def _tell(self, rows: Sequence[Row]) -> None:
        for delivery in self._deliveries:
            delivery.put(lambda delivery=delivery: delivery.tracker.rows(rows))  # type: ignore[misc]

    def _start(self, record: RunRecord, tracker: str, earlier: Path | None) -> RunStart:
        kept = None if earlier is None else kept_by(earlier).get(tracker)
        return RunStart(
            id=record.id,
            name=record.content["name"],
            directory=record.directory,
            root=record.root,
            configuration=record.content["configuration"],
            settings=dict(flat(record.content["config"])),
            earlier=kept,
            earlier_id=None if earlier is None or kept is None else earlier.name,
            keep=lambda what: _keep(record.directory, tracker, what),
        )

    def _end(self, record: RunRecord, status: str) -> RunEnd:
        facts: dict[str, str] = {}
        files = [record.directory / "report.html"]
        metrics: dict[str, float] = {}
        for artifact in self._artifacts:
            with contextlib.suppress(PipelineError, OSError):
                if isinstance(artifact, Checkpoint):
                    facts["checkpoint"] = str(artifact.model_directory)
                elif isinstance(artifact, Evaluation):
                    metrics = finite(artifact.metrics)
                    facts |= {"blessed": "yes" if artifact.blessed else "no", "verdict": artifact.verdict}
                elif isinstance(artifact, ServingModel):
                    files += sorted(artifact.saved_model_directory.glob(f"**/{DESCRIPTION}"))[:1]
                elif isinstance(artifact, Pushed):
                    report = artifact.report
                    if report.path is not None:
                        facts |= {"model": str(record.root / report.path), "version": str(report.version)}
                    if report.hub is not None and report.hub.url is not None:
                        facts["hub"] = report.hub.url
        step = max(self._seen.values(), default=0)
        there = [path for path in files if path.is_file()]
        return RunEnd(status=status, step=step, metrics=metrics, facts=facts, files=there)

    @contextlib.contextmanager
    def _no_failure(self) -> Iterator[None]:
        """Has a failure show a line, and nothing else."""
        try:
            yield
        except Exception as failure:
            with contextlib.suppress(Exception):
                self.show(f"  {'tracking':<11} failed: {type(failure).__name__}: {failure}")


def earlier_run(record: RunRecord) -> Path | None:
    """The folder of the run that was cut off and that this one goes on from: the newest of the same settings and name.

    None where that one succeeded, so that there is nothing to go on from.
    """
    others = [folder for folder in reversed(folders(record.root)) if folder.name != record.directory.name]
    wanted = json.loads(manifest.canonical_json(record.content["config"]))
    for folder in others[:MOST_LOOKED_AT]:
        try:
            content = read(folder)
        except ArtifactError:
            continue
        if content["config"] == wanted and content["name"] == record.content["name"]:
            if content["status"] not in ("failed", "interrupted", "killed"):
                return None
            if kept_by(folder):
                return folder
    return None


def kept_by(folder: Path) -> dict[str, Mapping[str, Any]]:
    """What the trackers have kept in a run's folder, by tracker; nothing where that can't be read."""
    try:
        content = json.loads((folder / KEPT).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: kept for name, kept in content.items() if isinstance(kept, dict)}


def _keep(directory: Path, tracker: str, what: Mapping[str, Any]) -> None:
    manifest.write_json(directory / KEPT, {**kept_by(directory), tracker: dict(what)})
