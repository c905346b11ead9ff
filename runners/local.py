"""Runs a pipeline in this process, one step after another."""

import contextlib
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from components.contract.artifacts import Artifact, Evaluation
from components.contract.component import Component
from components.hub.reading import HubUnreachable
from foundation import disk
from foundation.errors import ConfigError, DamagedArtifact, PipelineError
from runners.report.run_report import write_report
from runners.run_record import RunRecord, StepRecord
from runners.store import Store

Output = TypeVar("Output", bound=Artifact)


class Run(Protocol):
    """What a pipeline is given to run its steps with: traces them, or executes them."""

    def __call__(self, component: Component[Output]) -> Output:
        """Returns the component's output artifact."""


Pipeline = Callable[[Run], object]


INTERRUPTED = "interrupted"
SAME_COMMAND = "the same command then goes on from what is finished"


class Reached(Exception):
    """Ends a pipeline after the step that the user named."""


class LocalRunner:
    """Executes a pipeline's steps here, and keeps what they make.

    Args:
        root: The pipeline root: `artifacts/` and `runs/` go there.
        until: The last step to run; None for all.
        force: Steps to run although they are cached.
        show: Called with a line of text to show.
        working: Called with the name of what is being done; the context lasts as long as it.
    """

    def __init__(
        self,
        root: Path,
        *,
        until: str | None = None,
        force: frozenset[str] = frozenset(),
        show: Callable[[str], None] = print,
        working: Callable[[str], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self.store = Store(root)
        self.root = root
        self.until = until
        self.force = force
        self.show = show
        self.working = working
        self._settled: dict[str, tuple[Component[Any], dict[str, str]]] = {}

    def plan(self, pipeline: Pipeline) -> list[tuple[Component[Any], str]]:
        """What `execute` would do, in order: each component with `run` or `cached`. Runs nothing.

        A step after one that has to run is listed as `run`, though it may turn out cached: its key needs
        the digest of what the earlier step makes.

        Raises:
            PipelineError: What a component that would run refuses beforehand.
        """
        planned: list[tuple[Component[Any], str]] = []

        def plan_step(component: Component[Output]) -> Output:
            artifact = None
            component, sources = self._settle(component)
            if all(artifact.path is not None for artifact in component.inputs.values()):
                with contextlib.suppress(DamagedArtifact):  # which is made anew
                    artifact = self._cached(component, component.key(sources))
            planned.append((component, "cached" if artifact else "run"))
            if artifact is None:
                component.preflight()
            self._stop_after(component)
            return artifact or component.at(None)

        _drive(pipeline, plan_step)
        return planned

    def execute(self, pipeline: Pipeline, config: dict[str, Any]) -> RunRecord:
        """Runs what is not cached, shows a line a step, and leaves `runs/<id>/run.json`.

        Raises:
            PipelineError: If a step fails; the record says which, and holds the message.
        """
        record = self._open_record(config)
        recorded: dict[tuple[str, str], StepRecord] = {}

        def run_step(component: Component[Output]) -> Output:
            started = time.perf_counter()
            key = None
            try:
                with self.working(component.name):
                    component, sources = self._settle(component)
                    key = component.key(sources)
                    artifact, status = self._run(component, key, sources)
                    summary = artifact.summary
                    if status == "cached" and (notice := component.cached_notice()):
                        summary = f"{summary}; {notice}"
                    metrics = artifact.metrics if isinstance(artifact, Evaluation) else None
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    error.args = (self._told_interrupted(component, key),)
                seconds = time.perf_counter() - started
                record.add(StepRecord(component.name, "failed", seconds, key, None, str(error) or type(error).__name__))
                raise
            seconds = time.perf_counter() - started
            if metrics is not None:
                record.content["metrics"] = metrics
            step = StepRecord(component.name, status, seconds, key, str(artifact.directory), summary)
            before = recorded.get((step.name, key)) if status == "cached" else None
            if before is None:
                self.show(f"  {component.name:<11} {status:<7} {seconds:7.1f} s  {summary}")
            recorded[step.name, key] = before or step
            record.add(before or step)
            self._stop_after(component)
            return artifact

        try:
            self._drive_past_damage(pipeline, run_step, record)
        except KeyboardInterrupt as interrupt:
            self._finish(record, "interrupted", str(interrupt) or INTERRUPTED)
            raise
        except PipelineError as error:
            self._finish(record, "failed", str(error))
            raise
        except Exception as error:
            failure = self._unexpected(error, record)
            self._finish(record, "failed", str(failure))
            raise failure from error
        self._finish(record, "succeeded")
        return record

    def _drive_past_damage(self, pipeline: Pipeline, run_step: Run, record: RunRecord) -> None:
        """Plans, then runs every step; a damaged artifact that is met is set aside, and made anew from the start on."""
        damaged: set[Path] = set()
        while True:
            try:
                # Nobody should train for a day and then learn that a name was wrong.
                with self.working("plan"):
                    self.plan(pipeline)
                _drive(pipeline, run_step)
            except DamagedArtifact as damage:
                if damage.directory in damaged:  # the disk doesn't keep what it is given
                    raise
                damaged.add(damage.directory)
                aside = self.store.set_aside(damage.directory)
                step = damage.directory.parent.name
                self.show(f"  {step:<11} damaged: {damage.received}; set aside as {aside.name}, and made anew")
                record.start_over()
            else:
                return

    def _told_interrupted(self, component: Component[Any], key: str | None) -> str:
        """Where the same command goes on after an interrupt of a step."""
        how_far = None if key is None else component.resumes(self.store.partial(component, key))
        goes_on = f"goes on with {component.name} from {how_far}" if how_far else f"starts {component.name} again"
        return f"{INTERRUPTED} in {component.name}; finished steps are kept, and the same command {goes_on}"

    def _run(self, component: Component[Output], key: str, sources: Mapping[str, str]) -> tuple[Output, str]:
        with self.store.locked(component, key):
            artifact = self._cached(component, key)
            if artifact is not None:
                return artifact, "cached"
            anew = component.name in self.force
            if not anew:
                self._tell_unfinished(component, key)
            return self.store.make(component, key, dict(sources), anew), "ran"

    def _tell_unfinished(self, component: Component[Output], key: str) -> None:
        """Says whether a step goes on from an interrupted run, or starts anew beside one of other settings."""
        unfinished = self.store.unfinished(component)
        how_far = unfinished.pop(self.store.partial(component, key), None)
        if how_far is not None:
            self.show(f"  {component.name:<11} goes on from {how_far}")
            return
        for directory, how_far in unfinished.items():
            self.show(
                f"  {component.name:<11} starts anew: other settings or inputs than in {directory}, which came to "
                f"{how_far} (remove it if it is no longer wanted)"
            )

    def _cached(self, component: Component[Output], key: str) -> Output | None:
        if component.name in self.force:
            return None
        artifact = self.store.find(component, key)
        return artifact if artifact is not None and component.holds(artifact) else None

    def _settle(self, component: Component[Output]) -> tuple[Component[Output], dict[str, str]]:
        """A component and its sources, read once a run where that is possible.

        What runs has to be what its key names: a branch on the Hub may move between plan and execution, so
        the very object that told its sources is the one that runs.
        """
        known = self._settled.get(component.name)
        if known is None or known[0] != component:
            known = self._settled[component.name] = (component, self._sources(component))
        return known

    def _sources(self, component: Component[Any]) -> dict[str, str]:
        """What a component reads from outside; out of reach of the Hub, what it read there when it last ran."""
        try:
            return dict(component.sources())
        except HubUnreachable:
            earlier = self.store.earlier_sources(component)
            if earlier is None:
                raise
        self.show(f"  {component.name:<11} the Hub is out of reach: what was there at an earlier run counts, unchecked")
        return earlier

    def _stop_after(self, component: Component[Any]) -> None:
        if component.name == self.until:
            raise Reached

    def _open_record(self, config: dict[str, Any]) -> RunRecord:
        try:
            return RunRecord(self.root, config, self.show)
        except OSError as error:
            if disk.is_full(error):
                raise disk.full_disk(error, self.root, "a run's record is written", SAME_COMMAND) from error
            raise ConfigError(
                "the pipeline root must be a directory that can be written",
                received=f"{self.root}: {error.strerror or error}",
                remedy="name another with --root DIR",
            ) from error

    def _finish(self, record: RunRecord, status: str, error: str | None = None) -> None:
        """Closes the record and writes the run's report, whose own failure must not hide the run's end."""
        record.finish(status, error)
        try:
            write_report(record.directory)
        except Exception as failure:
            details = _write_traceback(record.directory / "report_traceback.txt", failure)
            self.show(f"  {'report':<11} failed: {type(failure).__name__}: {failure}{details}")

    def _unexpected(self, error: Exception, record: RunRecord) -> PipelineError:
        """An error that no step foresaw, told in one message; the traceback goes to a file of the run."""
        details = _write_traceback(record.directory / "traceback.txt", error)
        if disk.is_full(error):
            steps = record.content["steps"]
            what = f"the files of {steps[-1]['name']} are written" if steps else "files are written"
            return disk.full_disk(error, self.root, what, SAME_COMMAND + details)
        if isinstance(error, OSError):
            return PipelineError(
                "a step reads and writes its files without an error of the system",
                received=str(error),
                remedy=f"mend what it names and run the same command again{details}",
            )
        return PipelineError(
            "a step fails only for a reason that it can name",
            received=f"{type(error).__name__}: {error}",
            remedy=f"this is a fault of the program: please report it{details}",
        )


def _write_traceback(path: Path, error: Exception) -> str:
    """Writes an error's traceback to a file, and tells where; nothing where it can't be written."""
    try:
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return ""
    return f" (details: {path})"


def _drive(pipeline: Pipeline, run: Run) -> None:
    with contextlib.suppress(Reached):
        pipeline(run)
