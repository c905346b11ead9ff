"""Runs a pipeline's file by `kfp.local`, in the environment that has kfp.

python run_by_kfp.py FILE ROOT

kfp's own SubprocessRunner refuses what isn't a function of Python that kfp packed itself. `Containers` leaves that
refusal out; all else is kfp's: reading the file, the order of the tasks, the executor input, the placeholders, the
process of each task, and reading its executor output. No container is started: `python` is the first on the PATH.
"""

import sys
from pathlib import Path

import kfp.components
import yaml
from google.protobuf import json_format
from kfp import local
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.local import subprocess_task_handler
from kfp.pipeline_spec import pipeline_spec_pb2


class Containers(subprocess_task_handler.SubprocessTaskHandler):
    """Runs the command of any container as a process."""

    def validate_image(self, image: str) -> None:
        """Takes any image: none is used."""

    def validate_not_container_component(self, full_command: list[str]) -> None:
        """Takes a container's command."""

    def validate_not_containerized_python_component(self, full_command: list[str]) -> None:
        """Takes any command."""


def main(file: Path, root: Path) -> None:
    """Checks the file against kfp's messages, and runs it."""
    documents = list(yaml.safe_load_all(file.read_text("utf-8")))
    json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    for document in documents[1:]:
        for config in document["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
            json_format.ParseDict(config, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
        json_format.ParseDict(document, pipeline_spec_pb2.PlatformSpec())
    subprocess_task_handler.SubprocessTaskHandler = Containers
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
    kfp.components.load_component_from_file(str(file))()


main(Path(sys.argv[1]), Path(sys.argv[2]))
