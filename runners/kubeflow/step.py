"""The program in each container: runs one step, and writes what Kubeflow is to know of it.

python -m runners.kubeflow.step --component JSON --out DIR [--executor_input JSON] [--root DIR] [--step_version VERSION]
                                [--preflight JSON ...] [--ray JSON]
"""

if __name__ == "__main__":
    # The imports below take a moment, in which a signal would end in a traceback.
    from foundation.termination import TERMINATION

    TERMINATION.end_at_once("step: interrupted before anything began")

import argparse
import contextlib
import json
import math
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.config.pipeline_config import Config
from components.config.runner_settings import RayParams
from components.contract.artifacts import Artifact, Evaluation
from components.contract.component_json import from_json
from foundation.errors import ConfigError, PipelineError
from foundation.keras_choice import choose_keras
from foundation.own_process import run_as_process
from foundation.terminal import TERMINAL, take_any_text
from foundation.termination import number_of
from runners.choice import chosen_workers
from runners.one_step import run_step
from runners.storage import LocalStorage

PROGRAM = "step"
AT_ONCE = "interrupted; with a root, the same step goes on from what it left there"
TERMINATION_LOG = Path("/dev/termination-log")
"""Where Kubernetes reads why a container ended, and shows it beside the pod."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one step.

    Args:
        arguments: As on the command line.

    Returns:
        The exit code: 0, 1 for a step that failed, 2 for bad usage, and 128 plus a signal's number.
    """
    choose_keras()
    take_any_text()
    try:
        _run(_parse(arguments))
    except PipelineError as error:
        return _failed(error)
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt)
    except Exception as error:
        traceback.print_exc()  # A container leaves nothing but what it prints.
        return _failed(
            PipelineError(
                "a step must name the reason for which it fails",
                received=f"{type(error).__name__}: {error}",
                remedy="this is a fault of the program: please report it with the lines above",
            )
        )
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=PROGRAM, allow_abbrev=False, description="Runs one step of a pipeline.")
    parser.add_argument("--component", required=True, metavar="JSON", help="The step, with its inputs' paths.")
    parser.add_argument("--step_version", metavar="VERSION", help="The step's version, where it was written.")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="Where its artifact is to be.")
    parser.add_argument("--executor_input", metavar="JSON", help="What Kubeflow says of the task.")
    parser.add_argument("--root", type=Path, metavar="DIR", help="A root that keeps what steps make.")
    parser.add_argument(
        "--preflight", action="append", default=[], metavar="JSON", help="A later step, which may refuse now."
    )
    parser.add_argument("--ray", metavar="JSON", help="Settings of the Ray workers that share the step's work.")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    """Runs the step, shows its line, and writes what Kubeflow reads."""
    started = time.perf_counter()
    component = from_json(options.component)
    if options.step_version not in (None, component.version):
        raise PipelineError(
            "a step must be told by the same version of the program as runs it",
            received=f"version {options.step_version} of {component.name}, and here it is {component.version}",
            remedy="build the image anew, or write the pipeline with the version that is in the image",
        )
    for later in map(from_json, options.preflight):
        TERMINAL.paragraph(f"  {later.name:<11} asked beforehand")
        later.preflight()
    config = Config() if options.ray is None else Config(ray=RayParams(**json.loads(options.ray)))
    with chosen_workers("local" if options.ray is None else "ray", config) as workers:
        storage = None if options.root is None else LocalStorage(options.root, show=TERMINAL.paragraph)
        artifact, status = run_step(component, options.out, storage=storage, workers=workers, show=TERMINAL.paragraph)
    seconds = time.perf_counter() - started
    TERMINAL.paragraph(f"  {component.name:<11} {status:<7} {seconds:7.1f} s  {artifact.summary}")
    if options.executor_input is not None:
        _write_output(options.executor_input, artifact)


def _write_output(executor_input: str, artifact: Artifact) -> None:
    """Writes Kubeflow's ExecutorOutput: what its page shows of the artifact. Of an evaluation, that is each metric.

    Raises:
        ConfigError: If Kubeflow's text is none.
    """
    try:
        outputs = json.loads(executor_input)["outputs"]
        path = Path(outputs["outputFile"])
        (name, listed), *_ = outputs["artifacts"].items()
        told = listed["artifacts"][0]
        content = {"name": told.get("name", name), "uri": told["uri"], "metadata": metadata_of(artifact)}
    except (ValueError, KeyError, TypeError, LookupError) as error:
        raise ConfigError(
            "--executor_input must be Kubeflow's ExecutorInput as JSON, with one output artifact",
            received=f"{executor_input[:200]}: {type(error).__name__} {error}",
            remedy="leave --executor_input out, or give what Kubeflow writes for {{$}}",
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"artifacts": {name: {"artifacts": [content]}}}), encoding="utf-8")


def metadata_of(artifact: Artifact) -> dict[str, Any]:
    """What Kubeflow shows beside an artifact: digest and summary, and of an evaluation the metrics, too."""
    content: dict[str, Any] = {"digest": artifact.digest, "summary": artifact.summary}
    if isinstance(artifact, Evaluation):
        # Kubeflow's numbers are JSON's, which has no infinity.
        content |= {name: value for name, value in artifact.metrics.items() if math.isfinite(value)}
        content["verdict"] = artifact.verdict
    return content


def _failed(error: PipelineError) -> int:
    """Tells of a failure, to Kubernetes too; the exit code."""
    TERMINAL.error(PROGRAM, error)
    if TERMINATION_LOG.is_file():
        with contextlib.suppress(OSError):
            TERMINATION_LOG.write_text(str(error), encoding="utf-8")
    return error.exit_code


def _interrupted(interrupt: KeyboardInterrupt) -> int:
    """Tells of an interrupt; the exit code."""
    TERMINAL.tell(f"{PROGRAM}: {AT_ONCE}")
    return 128 + number_of(interrupt)


def command() -> int:
    """What a container runs: `main`, in a process of its own, which signals end."""
    return run_as_process(main, f"{PROGRAM}: {AT_ONCE}", _interrupted)


if __name__ == "__main__":
    sys.exit(command())
