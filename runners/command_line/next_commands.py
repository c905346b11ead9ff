"""What comes next after a run: commands to type as they are printed, each with what it is for."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.config.sections import STEPS
from components.contract.artifacts import Pushed, ServingModel
from components.contract.reports import PushReport
from components.publishing.params import PushParams
from foundation.command_text import installed, python, short
from foundation.versions import TOKENIZER

COMMAND = "masked-lm-pipeline"
"""What an installed package calls the program."""
Line = tuple[str, str]
"""What a command, or a path, is for, and itself."""


def to_load(model_directory: Path, run: Path) -> Iterator[Line]:
    """Where a checkpoint is, and a line of Python that loads it."""
    yield "Checkpoint", short(model_directory)
    yield (
        "In Python",
        f"from masked_lm_pipeline import load_masked_lm; model, tokenizer = load_masked_lm({short(run)!r})",
    )


def to_ask(pushed: Pushed, model: ServingModel, root: Path) -> Iterator[Line]:
    """Where a pushed model is, and how to serve and ask it."""
    report = pushed.report
    version = root / str(report.path)
    yield "Model", short(version)
    if report.hub:
        yield "On the Hub", str(report.hub.url)
    yield "Serve it", f"{python()} -m serving --model-dir {shlex.quote(short(version.parent))}"
    yield "Ask it", f"{python()} -m serving.client {shlex.join(client_arguments(report, model, version))}"


def client_arguments(report: PushReport, model: ServingModel, version: Path) -> list[str]:
    """What to ask a model that was pushed: its example, with what the client must know of it."""
    options = ["--top-k", str(min(3, model.most_candidates))]
    if report.model_name != PushParams.model_name:
        options += ["--model", report.model_name]
    if not model.takes_text:
        options += ["--tokenizer", short(version / TOKENIZER)]
    # A text that looks like an option stands after the options' end.
    return [*options, "--", model.example] if model.example.startswith("-") else [model.example, *options]


def after(step: str | None, arguments: Sequence[str]) -> Iterator[Line]:
    """The command that runs the step after one, at which a run was to end."""
    steps = list(STEPS)
    if step is not None and step != steps[-1]:
        following = steps[steps.index(step) + 1]
        added = [] if following == steps[-1] else ["--until", following]
        yield "Next step", pipeline_command(without(arguments, "--until", "--force"), *added)


def to_go_on(arguments: Sequence[str]) -> Iterator[Line]:
    """The command that goes on after a failure or an interrupt: the same."""
    yield "Go on", pipeline_command(arguments)


def to_push(arguments: Sequence[str], setting: str, value: str) -> Iterator[Line]:
    """The command that pushes after all, with a setting that was in the way."""
    yield "Push it", pipeline_command(without(arguments, "--until", "--force", setting), setting, value)


def recorded_command(arguments: Sequence[str]) -> str:
    """What was typed, for the run's record, but for the root: a record holds no path of the root that it is in."""
    program = [COMMAND] if Path(sys.argv[0]).name == COMMAND else ["python", "pipeline.py"]
    return shlex.join([*program, *without(arguments, "--root")])


def pipeline_command(arguments: Sequence[str], *more: str) -> str:
    """This program with other arguments, as it was called."""
    program = Path(sys.argv[0])
    if program.name == COMMAND:
        called = installed(COMMAND)
    elif program.suffix == ".py" and os.path.isfile(program):
        called = f"{python()} {shlex.quote(short(Path(os.path.abspath(program))))}"
    else:
        called = f"{python()} -m pipeline"
    return " ".join([called, *map(shlex.quote, [*arguments, *more])])


def without(arguments: Sequence[str], *options: str) -> list[str]:
    """A command line without some options and their values."""
    kept: list[str] = []
    dropping = False
    for argument in arguments:
        if argument.startswith("--"):
            dropping = argument.partition("=")[0] in options
            if dropping:
                continue
        elif dropping:
            continue
        kept.append(argument)
    return kept
