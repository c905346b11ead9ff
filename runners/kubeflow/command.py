"""What `--runner kubeflow` does on the command line."""

import argparse
import dataclasses
import json
from pathlib import Path

from components.config.pipeline_config import Config
from components.contract.run_names import require_name
from foundation.command_text import short
from foundation.errors import ConfigError
from foundation.terminal import TERMINAL
from runners.command_line.options import name_of_run
from runners.kubeflow.places import require_reachable
from runners.kubeflow.specification import TYPES, as_text, resources_of
from runners.kubeflow.submission import submit
from runners.kubeflow.tracing import Task, trace
from runners.run import Pipeline

REFUSED = ("force", "tracking", "tracking_uri", "tracking_project")
"""Options that mean nothing there."""


def hand_over(pipeline: Pipeline, options: argparse.Namespace, config: Config, root: Path) -> int:
    """Writes the pipeline's file, and has Kubeflow run it where a host is given.

    Args:
        pipeline: The graph.
        options: The command line's.
        config: The settings, as steps read them in containers.
        root: The root in containers.

    Returns:
        The exit code.

    Raises:
        ConfigError: If an option or a setting can't work in containers, or the file can't be written.
        SubmissionError: If Kubeflow is out of reach or refuses.
    """
    settings = config.kubeflow
    for option in REFUSED:
        if getattr(options, option):
            raise ConfigError(
                f"--{option} must be left out with --runner kubeflow, whose steps run in containers",
                received=f"--{option}",
                remedy="leave it out"
                + ("; a step runs again where its image, settings or inputs change" if option == "force" else ""),
            )
    name = _name_there(options, config)
    tasks = trace(pipeline, options.until)
    notes = require_reachable(config, {task.component.name for task in tasks})
    workers = []
    if config.ray.address is not None:
        notes += _require_shared(config)
        workers = [f"--ray={json.dumps(dataclasses.asdict(config.ray))}"]
    text = as_text(tasks, settings, None if settings.volume is None else str(root), workers)
    TERMINAL.paragraph(f"{options.config} · Kubeflow pipeline {settings.pipeline_name} · image {settings.image}")
    for note in (*options.notes, *notes):
        TERMINAL.paragraph(f"  {note}")
    for task in tasks:
        TERMINAL.paragraph(f"  {task.name:<11} {_about(task, config)}")
    if options.plan:
        return 0
    _write(Path(settings.output), text)
    TERMINAL.line(f"\nPipeline    {short(Path(settings.output))}")
    if settings.host is not None:
        submitted = submit(text, settings, name)
        TERMINAL.line(f"Version     {submitted.version}")
        TERMINAL.line(f"Run         {submitted.url}")
    return 0


def _name_there(options: argparse.Namespace, config: Config) -> str | None:
    """The name that the run gets in Kubeflow; None for one that Kubeflow's page is to have without the user's help.

    Raises:
        ConfigError: If it is none, or nothing is to run.
    """
    if options.name is not None and config.kubeflow.host is None:
        raise ConfigError(
            "--name must be given with --kubeflow.host, since it names the run there",
            received=f"--name {options.name} alone",
            remedy="leave it out, or give --kubeflow.host; --kubeflow.pipeline_name names the pipeline",
        )
    name = name_of_run(options.name, config)
    return None if name is None else require_name(name)


def _require_shared(config: Config) -> list[str]:
    """Refuses Ray workers that wouldn't see a step's files; a sentence where they do."""
    settings = config.kubeflow
    if settings.volume is None:
        raise ConfigError(
            "ray.address must be given with a volume under --runner kubeflow: workers and steps share their files",
            received="no kubeflow.volume",
            remedy="name by --kubeflow.volume a claim that the Ray cluster's pods mount too, at the same "
            "--kubeflow.volume_path; or leave out --ray.address",
        )
    return [f"steps share their work with Ray at {config.ray.address}, whose pods must mount {settings.volume} too"]


def _about(task: Task, config: Config) -> str:
    """What a task is, in a line."""
    given = resources_of(task, config.kubeflow)
    more = f", {given['accelerator']['count']} × {given['accelerator']['type']}" if "accelerator" in given else ""
    makes = f"{task.output} ({TYPES[task.component.output]})"
    return f"makes {makes:<32} on {given['resourceCpuLimit']} cores, {given['resourceMemoryLimit']}{more}"


def _write(path: Path, text: str) -> None:
    """Writes the pipeline's file.

    Raises:
        ConfigError: If it can't be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            "kubeflow.output must be a file that can be written",
            received=f"{path}: {error.strerror or error}",
            remedy="name another by --kubeflow.output",
        ) from error
