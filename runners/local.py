"""Runs a pipeline in this process, one step after another."""

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from components.contract.artifacts import Artifact, Evaluation
from components.contract.component import Component
from components.contract.run_names import require_name
from components.contract.workers import THIS_PROCESS, Workers
from foundation import disk
from foundation.errors import ConfigError, DamagedArtifact, PipelineError
from foundation.termination import TERMINATION
from runners.run import Pipeline, drive
from runners.run_end import SAME_COMMAND, RunEnd
from runners.run_record import RUNNING, RunRecord, StepRecord, close_killed_runs, verdict_of
from runners.settling import Settling
from runners.storage import LocalStorage, Storage
from runners.store import Store
from runners.tracking.tracker import Tracker
from runners.tracking.tracking import Tracking

Output = TypeVar("Output", bound=Artifact)

INTERRUPTED = "interrupted"
BETWEEN_STEPS = f"{INTERRUPTED} between two steps; finished steps are kept, and the same command goes on from them"


class LocalRunner:
    """Executes a pipeline's steps here, and keeps their artifacts.

    Args:
        root: The pipeline root: `artifacts/` and `runs/` go there.
        until: The last step to run; None for all.
        force: Steps to run although they are cached.
        wait: Whether to wait for what another run on the same root is making; otherwise that ends this one.
        name: What the user calls the run, beside its id.
        trackers: Are told how the run goes.
        show: Called with a line of text to show.
        working: Called with the name of what is being done; the context lasts as long as it.
        command: What was typed to start the run, for its record; None where a program starts it.
        workers: Who shares the work of the steps.
        storage: What keeps the artifacts; None for the root's own disk.
    """

    def __init__(
        self,
        root: Path,
        *,
        until: str | None = None,
        force: frozenset[str] = frozenset(),
        wait: bool = True,
        name: str | None = None,
        trackers: Sequence[Tracker] = (),
        show: Callable[[str], None] = print,
        working: Callable[[str], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
        command: str | None = None,
        workers: Workers = THIS_PROCESS,
        storage: Storage | None = None,
    ) -> None:
        self.store = Store(LocalStorage(root, wait=wait, show=show) if storage is None else storage)
        self.root = root
        self.until = until
        self.force = force
        self.name = None if name is None else require_name(name)
        self.show = show
        self.working = working
        self.tracking = Tracking(trackers, show)
        self._end = RunEnd(root, self.tracking, show, self._share)
        self.command = command
        self.workers = workers
        self.record: RunRecord | None = None
        """The record of what `execute` runs or ran; None until it is begun."""
        self._made: set[str] = set()
        """The keys of what this runner has made, which needn't be forced again."""
        self._settling = Settling(self.store, show)

    def plan(self, pipeline: Pipeline) -> list[tuple[Component[Any], str]]:
        """What `execute` would do, in order: each component with `run` or `cached`. Runs nothing.

        A step after one that has to run is listed as `run`, though it may turn out cached: its key needs
        the digest of the earlier step's artifact.

        Raises:
            PipelineError: What a component that would run refuses beforehand.
        """
        return self._plan(pipeline, None)

    def _plan(self, pipeline: Pipeline, record: RunRecord | None) -> list[tuple[Component[Any], str]]:
        """The plan; where it is for a run, its record says that the run uses what is there."""
        planned: list[tuple[Component[Any], str]] = []

        def plan_step(component: Component[Output]) -> Output:
            component, sources = self._settling.settle(component)
            artifact = None
            if all(each.path is not None for each in component.inputs.values()):
                key = component.key(sources)
                self._use(component, key, record)
                with contextlib.suppress(DamagedArtifact):  # which is made anew
                    artifact = self._cached(component, key)
            planned.append((component, "cached" if artifact else "run"))
            if artifact is None:
                self.store.fetch_inputs(component)
                component.preflight()
                component.preflight_with(self.workers)
            return artifact or component.at(None)

        drive(pipeline, plan_step, self.until)
        return planned

    def execute(self, pipeline: Pipeline, config: dict[str, Any], configuration: str | None = None) -> RunRecord:
        """Runs what is not cached, shows a line a step, and leaves `runs/<id>/run.json`.

        Args:
            pipeline: The graph.
            config: The effective configuration as plain values.
            configuration: The name or path of the file that it began with.

        Raises:
            PipelineError: If a step fails; the record says which, and holds the message.
        """
        record = None
        try:
            with TERMINATION.held_back():
                record = self.record = self._open_record(config, configuration)
                TERMINATION.closing = functools.partial(self._end.close_at_once, record)
            self.tracking.begin(record)
            with disk.temporary_files_in(record.temporary):
                self._plan_and_run(pipeline, record)
            self._end.close(record, "succeeded")
        except KeyboardInterrupt as interrupt:
            if not str(interrupt):
                interrupt.args = (BETWEEN_STEPS,)
            self._end.close(record, "interrupted", str(interrupt))
            raise
        except PipelineError as error:
            self._end.close(record, "failed", str(error))
            raise
        except Exception as error:
            failure = self._end.unexpected(error, record)
            self._end.close(record, "failed", str(failure))
            raise failure from error
        return record

    def _plan_and_run(self, pipeline: Pipeline, record: RunRecord) -> None:
        """Plans, then runs every step. A damaged artifact is set aside, and all begins again, to make it anew."""

        def run_step(component: Component[Output]) -> Output:
            if component.takes_long and any(step["status"] == "ran" for step in record.content["steps"]):
                # What was made since the plan may show that a later step is bound to fail.
                with self.working("plan"):
                    self._plan(pipeline, record)
            return self._run_step(component, record)

        damaged: set[Path] = set()
        while True:
            try:
                # Nobody should train for a day and then learn that a name was wrong.
                with self.working("plan"):
                    planned = self._plan(pipeline, record)
                    if any(component.shares_work and status == "run" for component, status in planned):
                        self.workers.require()
                drive(pipeline, run_step, self.until)
            except DamagedArtifact as damage:
                if damage.directory in damaged:  # the disk doesn't keep what it is given
                    raise
                damaged.add(damage.directory)
                self._set_aside(damage)
                record.start_over()
            else:
                return

    def _run_step(self, component: Component[Output], record: RunRecord) -> Output:
        """Runs a step unless it is cached, and records and shows what came of it."""
        started = time.perf_counter()
        key = None
        try:
            with self.working(component.name):
                if (lost := TERMINATION.lost()) is not None:
                    raise lost
                component, sources = self._settling.settle(component)
                key = component.key(sources)
                self._use(component, key, record)
                with self.tracking.following(component, self.store.path(component, key)):
                    artifact, status = self._find_or_make(component, key, sources)
                # Reading what is shown may find damage, which is then this step's.
                summary = artifact.summary
                if status == "cached" and (notice := component.cached_notice()):
                    summary = f"{summary}; {notice}"
                measured = (artifact.metrics, verdict_of(artifact)) if isinstance(artifact, Evaluation) else ()
        except BaseException as error:
            # Where a library made another error of an interrupt, or there is one by now, it is an interrupt.
            failure = error if isinstance(error, KeyboardInterrupt) else TERMINATION.lost() or error
            if isinstance(failure, KeyboardInterrupt):
                failure.args = (self._interruption(component, key),)
            seconds = time.perf_counter() - started
            status = INTERRUPTED if isinstance(failure, KeyboardInterrupt) else "failed"
            record.add(StepRecord(component.name, status, seconds, key, None, str(failure) or type(error).__name__))
            if failure is not error:
                raise failure from error
            raise
        seconds = time.perf_counter() - started
        self.tracking.made(artifact)
        directory = artifact.directory.relative_to(self.root).as_posix()
        is_new = record.add(StepRecord(component.name, status, seconds, key, directory, summary), *measured)
        self._share(record.directory)
        if is_new:
            self.show(f"  {component.name:<11} {status:<7} {seconds:7.1f} s  {summary}")
        return artifact

    def _use(self, component: Component[Any], key: str, record: RunRecord | None) -> None:
        """Has the record say that the run uses an artifact, before it looks for it, so that nobody removes it."""
        name = self.store.name(component, key)
        if record is not None and name not in record.used:
            with self.store.undisturbed():
                record.use(name)
                self._share(record.directory / RUNNING)

    def _find_or_make(self, component: Component[Output], key: str, sources: Mapping[str, str]) -> tuple[Output, str]:
        """The artifact of a step, and whether it `ran` for it or was `cached`."""
        with self.store.locked(component, key):
            artifact = self._cached(component, key)
            if artifact is not None:
                return artifact, "cached"
            anew = component.name in self.force
            if not anew:
                self.store.bring_unfinished(component, key)
                self._show_unfinished(component, key)
            made = self.store.make(component, key, sources, anew, self.workers)
            self._made.add(key)
            return made, "ran"

    def _cached(self, component: Component[Output], key: str) -> Output | None:
        """The finished artifact of a step, if it needn't run."""
        if component.name in self.force and key not in self._made:
            return None
        artifact = self.store.find(component, key)
        if artifact is not None and component.writes:
            self.store.fetch(artifact)  # whether its effects still stand is compared with its files
        return artifact if artifact is not None and component.holds(artifact) else None

    def _set_aside(self, damage: DamagedArtifact) -> None:
        """Sets a damaged artifact aside, and says so."""
        aside = self.store.set_aside(damage)
        step = damage.directory.parent.name
        became = "another run has taken it away" if aside is None else f"set aside as {aside.name}, and made anew"
        self.show(f"  {step:<11} damaged: {damage.received}; {became}")

    def _show_unfinished(self, component: Component[Output], key: str) -> None:
        """Says whether a step goes on from a run that was cut off, or starts anew beside one with other settings."""
        how_far = self.store.resumable(component, key)
        if how_far is not None:
            self.show(f"  {component.name:<11} goes on from {how_far}")
            return
        if (left := self.store.unfinished(component, key)) is not None:
            self.show(f"  {component.name:<11} starts anew: other settings or inputs than in {left}")

    def _interruption(self, component: Component[Any], key: str | None) -> str:
        """Where a run was interrupted, and where the same command goes on."""
        how_far = None if key is None else self.store.resumable(component, key)
        goes_on = f"goes on with {component.name} from {how_far}" if how_far else f"starts {component.name} again"
        return f"{INTERRUPTED} in {component.name}; finished steps are kept, and the same command {goes_on}"

    def _open_record(self, config: dict[str, Any], configuration: str | None) -> RunRecord:
        """A new record; those of runs that were killed are closed first."""
        try:
            with self.store.undisturbed():
                for directory in close_killed_runs(self.root):
                    self._end.write_report(directory)
                record = RunRecord(self.root, config, self.show, configuration, self.name, self.command)
            self._share(record.directory)
            return record
        except OSError as error:
            if disk.is_full(error):
                raise disk.full_disk(error, self.root, "a run's record is written", SAME_COMMAND) from error
            raise ConfigError(
                "the pipeline root must be a directory that can be written",
                received=f"{self.root}: {error.strerror or error}",
                remedy="name another with --root DIR",
            ) from error

    def _share(self, path: Path) -> None:
        """Shows others what stands in a run's folder by now, or in a file there."""
        self.store.storage.share(path.relative_to(self.root).as_posix())
