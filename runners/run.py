"""What every runner shares: what a pipeline is given to run its steps with, and how a pipeline is driven."""

import contextlib
from collections.abc import Callable
from typing import Protocol, TypeVar

from components.contract.artifacts import Artifact
from components.contract.component import Component

Output = TypeVar("Output", bound=Artifact)


class Run(Protocol):
    """Runs the steps of a pipeline: executes them, plans them, or traces them for another system to execute."""

    def __call__(self, component: Component[Output]) -> Output:
        """Returns the component's output artifact, whose files may have yet to be written."""


Pipeline = Callable[[Run], object]
"""The graph: calls what it is given with each step, in order."""


class _LastStepReached(Exception):
    """Leaves a pipeline's function after the last step that the user wants."""


def drive(pipeline: Pipeline, run: Run, until: str | None = None) -> None:
    """Runs the steps of a pipeline, up to and including one of them.

    Args:
        pipeline: The graph.
        run: Is called with each step.
        until: The last step's name; None for all steps.
    """

    def run_until(component: Component[Output]) -> Output:
        artifact = run(component)
        if component.name == until:
            raise _LastStepReached
        return artifact

    with contextlib.suppress(_LastStepReached):
        pipeline(run_until)
