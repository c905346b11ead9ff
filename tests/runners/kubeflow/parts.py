"""What the tests of Kubeflow share: configurations, traced pipelines, a push without inputs."""

from pathlib import Path

from components.config.pipeline_config import Config
from components.contract.artifacts import (
    Blocks,
    Checkpoint,
    Corpus,
    Evaluation,
    InfraBlessing,
    ServingModel,
    Tokenizer,
)
from components.publishing.params import PushParams
from components.push import Push
from pipeline import for_root, pipeline
from runners.kubeflow.places import root_in_containers
from runners.kubeflow.tracing import Task, trace

INPUTS = (ServingModel, InfraBlessing, Evaluation, Checkpoint, Tokenizer, Corpus, Blocks)


def pushed_to(params: PushParams) -> Push:
    """A push whose inputs don't exist yet."""
    return Push(*(kind(None) for kind in INPUTS), params)


def configured(**sections) -> tuple[Config, Path]:
    """The quickstart with other settings, as containers read it, and the root there."""
    config = Config.load(**sections)
    root = root_in_containers("pipeline_root", config.kubeflow)
    return for_root(config, root, wait=True), root


def traced(until: str | None = None, **sections) -> list[Task]:
    """The tasks of the pipeline under the quickstart with other settings."""
    config, root = configured(**sections)
    return trace(lambda run: pipeline(run, config, str(root)), until)
