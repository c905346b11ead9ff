"""Runs the pipeline for programs: no exit, no signal handlers, and no output where none is wanted."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from components.config.pipeline_config import Config
from components.config.sections import STEPS
from components.contract.artifacts import Artifact
from components.contract.component import Component
from components.contract.workers import THIS_PROCESS, Workers
from foundation.names import require_known
from foundation.process_lock import LockHeld
from foundation.terminal import TERMINAL
from masked_lm_pipeline.entering import enter
from masked_lm_pipeline.finished_run import ROOT, FinishedRun
from pipeline import for_root, pipeline
from runners.choice import chosen_workers
from runners.housekeeping.pipeline_root import PipelineRoot
from runners.local import LocalRunner
from runners.opened_root import opened_root
from runners.run import Run

Output = TypeVar("Output", bound=Artifact)
Graph = Callable[[Run, Config, str], object]
"""Calls what it is given with each step, in order, as `pipeline.pipeline` does: with the settings and the root."""

HOUSES = ("components", "foundation", "masked_lm_pipeline", "runners", "serving")
QUIET_LIBRARIES = {"TRANSFORMERS_VERBOSITY": "error", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
_ONE_AT_A_TIME = threading.Lock()
"""A run has the process' temporary files, TensorFlow's seeds and its memory for itself."""


def run(
    config: Config | None = None,
    *,
    root: str | Path = ROOT,
    until: str | None = None,
    force: str | Collection[str] = (),
    wait: bool = True,
    quiet: bool = False,
    graph: Graph = pipeline,
    runner: Literal["local", "ray"] = "local",
) -> FinishedRun:
    """Runs the pipeline, or what of it isn't cached.

    It may be called in a thread, and in a program with an event loop, which waits meanwhile. One process runs one
    pipeline at a time. An interrupt (Ctrl-C, a notebook's stop button) raises `KeyboardInterrupt`; the same call then
    goes on from what is finished.

    Args:
        config: The settings; None for the quickstart's.
        root: Directory for artifacts, runs and served models, or an address such as `s3://bucket/prefix`.
        until: The last step to run, such as `train`; None for all.
        force: A step, or steps, to run although they are cached.
        wait: Whether to wait where another run is making the same artifact, or is pushing; otherwise that is an error.
        quiet: Whether to print nothing.
        graph: The pipeline, where it isn't the usual one.
        runner: Who does the work: this process, or workers on Ray as the section `ray` of the settings says.

    Returns:
        What the run left. Its artifacts are there as far as `until` says.

    Raises:
        PipelineError: If a step fails; `load_run("latest")` then has what was finished, and the error. A model that
            isn't blessed fails in push.

    Example:
        done = run(Config.load("quickstart", ingest={"path": "notes.txt"}), root="pipeline_root", until="evaluate")
        print(done.steps["train"], done.metrics["perplexity_after"])
    """
    _require_steps(graph, until, force)
    require_known(runner, ("local", "ray"), "the call names", "runners")
    with (
        _undisturbed(wait, quiet),
        opened_root(root, wait=wait, show=TERMINAL.paragraph) as opened,
        chosen_workers(runner, Config() if config is None else config) as workers,
    ):
        config = _for_root(config, opened, wait)
        local = _runner(opened, until, force, wait, workers)
        if not quiet:
            for note in config.notes:
                TERMINAL.paragraph(f"  {note}")
        record = local.execute(lambda run: graph(run, config, str(local.root)), config.as_plain(), config.configuration)
        opened.bring_served(record)
    return FinishedRun(record.directory)


def plan(
    config: Config | None = None,
    *,
    root: str | Path = ROOT,
    until: str | None = None,
    force: str | Collection[str] = (),
    graph: Graph = pipeline,
) -> Mapping[str, str]:
    """What `run` would do with the same arguments: each step in order, with `run` or `cached`. Runs nothing.

    A step after one that has to run is listed as `run`, though it may turn out cached.

    Raises:
        PipelineError: What a step that would run refuses beforehand.

    Example:
        print(plan(Config.load("quickstart"))["train"])
    """
    _require_steps(graph, until, force)
    with _undisturbed(True, True), opened_root(root) as opened:
        config = _for_root(config, opened, True)
        runner = _runner(opened, until, force, True)
        planned = runner.plan(lambda run: graph(run, config, str(runner.root)))
    return {component.name: status for component, status in planned}


def run_step(
    component: Component[Output],
    *,
    root: str | Path = ROOT,
    force: bool = False,
    wait: bool = True,
    quiet: bool = False,
) -> Output:
    """Runs one step, unless its artifact is cached. The step may be one's own.

    Args:
        component: The step, with its input artifacts and params.
        root: Directory for artifacts and runs, or an address.
        force: Whether to run it although it is cached.
        wait: Whether to wait where another run is making the same artifact; otherwise that is an error.
        quiet: Whether to print nothing.

    Returns:
        The step's artifact.

    Raises:
        PipelineError: If the step fails.

    Example:
        done = run(until="tokenizer")
        blocks = run_step(Preprocess(done.corpus, done.tokenizer, PreprocessParams(block_size=32)))
        print(blocks.report.splits.train.blocks)
    """
    made: list[Output] = []
    with _undisturbed(wait, quiet), opened_root(root, wait=wait, show=TERMINAL.paragraph) as opened:
        runner = _runner(opened, None, [component.name] if force else [], wait)

        def graph(run: Run) -> None:
            artifact = run(component)
            made[:] = [artifact]

        runner.execute(graph, {})
    return made[0]


def _for_root(config: Config | None, root: PipelineRoot, wait: bool) -> Config:
    """The settings as the steps read them, with what they name on this machine."""
    config = Config() if config is None else config
    root.bring_named(config)
    config = for_root(config, root.path, wait)
    root.bring_paths(config)
    return config


def _runner(
    root: PipelineRoot,
    until: str | None,
    force: str | Collection[str],
    wait: bool,
    workers: Workers = THIS_PROCESS,
) -> LocalRunner:
    forced = frozenset([force] if isinstance(force, str) else force)
    return LocalRunner(
        root.path,
        until=until,
        force=forced,
        wait=wait,
        show=TERMINAL.paragraph,
        working=TERMINAL.working,
        storage=root.storage,
        workers=workers,
    )


def _require_steps(graph: Graph, until: str | None, force: str | Collection[str]) -> None:
    """Refuses names that are no steps. The steps of another graph are known only to it.

    Raises:
        ConfigError: If there is one.
    """
    if graph is not pipeline:
        return
    named = [] if until is None else [until]
    for step in [*named, *([force] if isinstance(force, str) else force)]:
        require_known(step, STEPS, "until or force has", "steps")


@contextlib.contextmanager
def _undisturbed(wait: bool, quiet: bool) -> Iterator[None]:
    """Chooses Keras, and keeps the rest of the process out of a run, and the libraries' remarks out of its output.

    Raises:
        ConfigError: If this process uses Keras 3.
        LockHeld: If another thread of it runs a pipeline, and that isn't to be waited for.
    """
    enter()
    if not _ONE_AT_A_TIME.acquire(blocking=wait):
        raise LockHeld(
            "a process must run one pipeline at a time",
            received="another thread that runs one",
            remedy="wait for it (wait=True), or run the other one in a process of its own",
        )
    try:
        with contextlib.ExitStack() as changes:
            changes.enter_context(_environment(QUIET_LIBRARIES))
            changes.enter_context(_level("tensorflow", logging.ERROR))
            if quiet:
                changes.enter_context(TERMINAL.muted())
                for house in HOUSES:
                    changes.enter_context(_level(house, logging.CRITICAL + 1))
            yield
    finally:
        _ONE_AT_A_TIME.release()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables that aren't set, as long as the context lasts."""
    unset = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in unset})
    try:
        yield
    finally:
        for name in unset:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _level(name: str, level: int) -> Iterator[None]:
    """Gives a logger a level, as long as the context lasts."""
    logger = logging.getLogger(name)
    before: Any = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
