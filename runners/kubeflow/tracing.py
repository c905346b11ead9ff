"""Traces a pipeline: which steps it has, and whose artifacts each of them takes. Nothing runs."""

import dataclasses
import re
from pathlib import Path
from typing import Any, TypeVar

from components.contract.artifacts import Artifact
from components.contract.component import Component
from components.contract.component_json import PATH, as_json
from foundation.errors import PipelineError
from runners.run import Pipeline, drive

Output = TypeVar("Output", bound=Artifact)


@dataclasses.dataclass(frozen=True)
class Input:
    """An artifact that a step takes from an earlier one.

    Attributes:
        kind: The artifact's class.
        task: The task that makes it.
        output: What that task calls it.
    """

    kind: type[Artifact]
    task: str
    output: str


@dataclasses.dataclass(frozen=True)
class Task:
    """A step of the traced pipeline.

    Attributes:
        name: Its name in the pipeline: the step's, with a number where there are several.
        component: The step, whose inputs have no paths.
        inputs: Where its inputs come from, by the step's field.
    """

    name: str
    component: Component[Any]
    inputs: dict[str, Input]

    @property
    def output(self) -> str:
        """What the step's artifact is called: its class, as in `serving_model`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.component.output.__name__).lower()

    @property
    def reads_outside(self) -> bool:
        """Whether something besides params and inputs decides what the step does: files, the Hub, what is served."""
        return self.component.reads_outside

    @property
    def told(self) -> str:
        """The step as JSON, with Kubeflow's placeholders for its inputs' paths, and none in its params."""
        paths = {field: _input_path(field) for field in self.inputs}
        inputs = {field: source.kind(Path(paths[field])) for field, source in self.inputs.items()}
        text = without_placeholders(as_json(dataclasses.replace(self.component, **inputs)))
        for path in paths.values():
            text = text.replace(f'{{"{PATH}":"{without_placeholders(path)}"}}', f'{{"{PATH}":"{path}"}}')
        return text


def without_placeholders(text: str) -> str:
    """The same JSON, in which Kubeflow, Argo and Kubernetes find nothing to replace.

    The first two do so between two braces wherever these are, and Kubernetes in `$(NAME)`, and it makes one `$` of two.
    JSON has these only within a text, such as a user's.
    """
    return re.sub(r"\$(?=[$(])", r"\\u0024", text.replace("{{", "{\\u007b"))


def trace(pipeline: Pipeline, until: str | None = None) -> list[Task]:
    """The steps of a pipeline in order.

    Args:
        pipeline: The graph.
        until: The last step's name; None for all.

    Raises:
        PipelineError: If a step takes an artifact that no earlier one makes.
    """
    tasks: list[Task] = []
    makers: dict[int, tuple[Artifact, Task]] = {}
    """The artifacts, kept so that no other object takes the identity of one, and who makes each."""

    def run(component: Component[Output]) -> Output:
        inputs = {}
        for field, artifact in component.inputs.items():
            if id(artifact) not in makers:
                raise PipelineError(
                    "a step's inputs must be what earlier steps of the same pipeline make",
                    received=f"{component.name} with {field} {artifact!r}",
                    remedy="have the step that makes it run in the pipeline's function, before this one",
                )
            maker = makers[id(artifact)][1]
            inputs[field] = Input(type(artifact), maker.name, maker.output)
        number = sum(each.component.name == component.name for each in tasks)
        task = Task(component.name if number == 0 else f"{component.name}-{number + 1}", component, inputs)
        tasks.append(task)
        artifact = component.at(None)
        makers[id(artifact)] = (artifact, task)
        return artifact

    drive(pipeline, run, until)
    return tasks


def _input_path(field: str) -> str:
    """Kubeflow's placeholder for the path of an input."""
    return f"{{{{$.inputs.artifacts['{field}'].path}}}}"
