"""A traced pipeline as the file that Kubeflow Pipelines 2 and Vertex AI run: PipelineSpec 2.1, and Kubernetes' part.

https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto
"""

import re
from collections.abc import Sequence
from typing import Any

import yaml

from components.config.runner_settings import KubeflowParams
from components.contract.artifacts import (
    Artifact,
    Blocks,
    Checkpoint,
    Corpus,
    Evaluation,
    InfraBlessing,
    Pushed,
    ServingModel,
    Tokenizer,
)
from components.contract.component_json import as_json
from foundation.errors import ConfigError
from runners.kubeflow.tracing import Task, without_placeholders

SCHEMA_VERSION = "2.1.0"
SDK_VERSION = "kfp-2.17.3"
"""The version of Kubeflow's own compiler whose files these are like."""
TYPES: dict[type[Artifact], str] = {
    Corpus: "system.Dataset",
    Tokenizer: "system.Artifact",
    Blocks: "system.Dataset",
    Checkpoint: "system.Model",
    Evaluation: "system.Metrics",
    ServingModel: "system.Model",
    InfraBlessing: "system.Artifact",
    Pushed: "system.Artifact",
}
"""What each kind of artifact is to Kubeflow."""
ON_ACCELERATORS = (Checkpoint, Evaluation)
"""What is made on accelerators, where there are any."""
HUB_TOKEN = "HF_TOKEN"
LONGEST_ARGUMENT = 100_000
"""Linux takes 131,071 bytes, of which the paths that Kubeflow puts in place of its placeholders need some."""
UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
START = """\
try:
    from runners.kubeflow.step import command
except ModuleNotFoundError as error:
    raise SystemExit(
        "kubeflow.image must be an image of masked-lm-pipeline. Received: {image}, where Python finds "
        f"no module {{error.name}}. Way out: build it from the Dockerfile, at the version that wrote this pipeline."
    )
raise SystemExit(command())
"""
"""What Python runs in each container."""


def as_text(tasks: Sequence[Task], settings: KubeflowParams, root: str | None, workers: Sequence[str] = ()) -> str:
    """The pipeline's file.

    Args:
        tasks: The steps.
        settings: Image, resources, volume, secret.
        root: The root in the containers that keeps what steps make; None for none.
        workers: Options of the step program that say who shares its work.

    Returns:
        YAML: one document, or two where something needs Kubernetes.
    """
    documents = [_pipeline(tasks, settings, root, workers)]
    executors = {_executor(task): found for task in tasks if (found := _on_kubernetes(task, settings))}
    if executors:
        documents.append({"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}})
    # YAML's own line breaks within a text would make the commands hard to find and to compare.
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=float("inf"))


def _pipeline(
    tasks: Sequence[Task], settings: KubeflowParams, root: str | None, workers: Sequence[str]
) -> dict[str, Any]:
    """The PipelineSpec."""
    return {
        "pipelineInfo": {
            "name": settings.pipeline_name,
            "description": "From a pile of text to a served masked language model.",
        },
        "schemaVersion": SCHEMA_VERSION,
        "sdkVersion": SDK_VERSION,
        "root": {"dag": {"tasks": {task.name: _task(task, settings) for task in tasks}}},
        "components": {_component_name(task): _component(task) for task in tasks},
        "deploymentSpec": {
            "executors": {
                _executor(task): {"container": _container(task, tasks[number + 1 :], settings, root, workers)}
                for number, task in enumerate(tasks)
            }
        },
    }


def _task(task: Task, settings: KubeflowParams) -> dict[str, Any]:
    """A task of the graph."""
    content: dict[str, Any] = {
        "taskInfo": {"name": task.name},
        "componentRef": {"name": _component_name(task)},
        # Kubeflow compares inputs and commands alone, and what a step reads from outside is in neither.
        "cachingOptions": {} if task.reads_outside else {"enableCache": True},
    }
    if task.inputs:
        content["inputs"] = {
            "artifacts": {
                field: {"taskOutputArtifact": {"producerTask": source.task, "outputArtifactKey": source.output}}
                for field, source in task.inputs.items()
            }
        }
        content["dependentTasks"] = sorted({source.task for source in task.inputs.values()})
    if settings.retries:
        content["retryPolicy"] = {
            "maxRetryCount": settings.retries,
            "backoffDuration": "30s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": "600s",
        }
    return content


def _component(task: Task) -> dict[str, Any]:
    """What a task takes and makes."""
    content: dict[str, Any] = {"executorLabel": _executor(task)}
    if task.inputs:
        content["inputDefinitions"] = {
            "artifacts": {field: _artifact_type(source.kind) for field, source in task.inputs.items()}
        }
    content["outputDefinitions"] = {"artifacts": {task.output: _artifact_type(task.component.output)}}
    return content


def _artifact_type(kind: type[Artifact]) -> dict[str, Any]:
    return {"artifactType": {"schemaTitle": TYPES[kind], "schemaVersion": "0.0.1"}}


def _container(
    task: Task, later: Sequence[Task], settings: KubeflowParams, root: str | None, workers: Sequence[str]
) -> dict[str, Any]:
    """The container that a task runs in.

    The first one asks later steps, too, what is bound to fail in them, except those that may need a device that it
    lacks.
    """
    arguments = [
        f"--component={task.told}",
        f"--step_version={task.component.version}",
        f"--out={{{{$.outputs.artifacts['{task.output}'].path}}}}",
        "--executor_input={{$}}",
    ]
    if root is not None:
        arguments.append(f"--root={root}")
    if not task.inputs:
        asked = [each for each in later if not _has_accelerator(each, settings)]
        arguments += [f"--preflight={without_placeholders(as_json(each.component))}" for each in asked]
    _require_short(task, arguments)
    return {
        "image": settings.image,
        "command": ["python", "-c", START.format(image=settings.image)],
        "args": [*arguments, *workers],
        "resources": resources_of(task, settings),
    }


def _require_short(task: Task, arguments: Sequence[str]) -> None:
    """Refuses what Linux doesn't hand to a process.

    Raises:
        ConfigError: If an argument is too long.
    """
    longest = max(len(argument.encode()) for argument in arguments)
    if longest > LONGEST_ARGUMENT:
        raise ConfigError(
            f"the settings of a step must fit into {LONGEST_ARGUMENT:,} bytes under --runner kubeflow",
            received=f"{longest:,} bytes of {task.name} or a later step",
            remedy="shorten what is long, such as a list of texts; words for the tokenizer may stand in a file on the "
            "volume",
        )


def resources_of(task: Task, settings: KubeflowParams) -> dict[str, Any]:
    """What a task gets, each in the form of today and in that which Vertex AI and older versions read."""
    cpus, gigabytes = f"{settings.cpus:g}", _bytes(settings.memory) / 1e9
    content: dict[str, Any] = {
        "cpuLimit": settings.cpus,
        "cpuRequest": settings.cpus,
        "memoryLimit": gigabytes,
        "memoryRequest": gigabytes,
        "resourceCpuLimit": cpus,
        "resourceCpuRequest": cpus,
        "resourceMemoryLimit": settings.memory,
        "resourceMemoryRequest": settings.memory,
    }
    if _has_accelerator(task, settings):
        kind, count = settings.accelerator, str(settings.accelerators)
        content["accelerator"] = {"type": kind, "count": count, "resourceType": kind, "resourceCount": count}
    return content


def _on_kubernetes(task: Task, settings: KubeflowParams) -> dict[str, Any]:
    """What a task needs that is Kubernetes' own: a volume, a secret, nodes."""
    content: dict[str, Any] = {}
    if settings.volume is not None:
        claim = {"pvcNameParameter": {"runtimeValue": {"constant": settings.volume}}, "constant": settings.volume}
        content["pvcMount"] = [{**claim, "mountPath": settings.volume_path}]
    if settings.hub_secret is not None:
        name = settings.hub_secret
        keys = [{"secretKey": HUB_TOKEN, "envVar": HUB_TOKEN}]
        secret = {"secretNameParameter": {"runtimeValue": {"constant": name}}, "secretName": name}
        content["secretAsEnv"] = [{**secret, "keyToEnv": keys, "optional": False}]
    if settings.node_labels and _may_use_accelerators(task):
        content["nodeSelector"] = {"labels": dict(settings.node_labels)}
    return content


def _may_use_accelerators(task: Task) -> bool:
    return issubclass(task.component.output, ON_ACCELERATORS)


def _has_accelerator(task: Task, settings: KubeflowParams) -> bool:
    return settings.accelerator is not None and _may_use_accelerators(task)


def _component_name(task: Task) -> str:
    return f"comp-{task.name}"


def _executor(task: Task) -> str:
    return f"exec-{task.name}"


def _bytes(memory: str) -> float:
    """A quantity of memory in bytes."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", memory).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]
