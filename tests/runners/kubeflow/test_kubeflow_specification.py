"""The pipeline's file: its structure, and that it changes only where somebody means it to."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from setuptools import find_packages

from components.config.runner_settings import KubeflowParams
from components.contract import artifacts
from components.contract.artifacts import Artifact
from foundation.errors import ConfigError
from runners.kubeflow.specification import START, TYPES, as_text
from tests.runners.kubeflow.parts import traced
from tests.test_dockerfile import ROOT, copied, setup, stage

GOLDEN = Path(__file__).with_name("golden_pipeline.yaml")
"""The file of the two first steps, with all that Kubernetes has of its own. To renew it: see the test."""
FULL = {
    "image": "registry.example.com/masked-lm-pipeline:1",
    "accelerator": "nvidia.com/gpu",
    "node_labels": {"cloud.google.com/gke-accelerator": "nvidia-l4"},
    "volume": "masked-lm",
    "hub_secret": "hugging-face",
}


def written(until=None, root=None, workers=(), **kubeflow):
    tasks = traced(until, kubeflow=kubeflow)
    text = as_text(tasks, KubeflowParams(**kubeflow), root, workers)
    return list(yaml.safe_load_all(text))


def golden_text():
    """The file without the steps' own settings, which change for reasons of their own."""
    text = as_text(traced("tokenizer", kubeflow=FULL), KubeflowParams(**FULL), "/data/pipeline_root")
    return re.sub(r"(?m)^( *- '?--(?:component|preflight)=).*$", r"\1...", text)


def containers(pipeline):
    return {name: executor["container"] for name, executor in pipeline["deploymentSpec"]["executors"].items()}


def test_each_kind_of_artifact_has_a_type():
    kinds = {value for value in vars(artifacts).values() if isinstance(value, type) and issubclass(value, Artifact)}
    assert set(TYPES) == kinds - {Artifact}


def test_one_document_is_enough_without_kubernetes_own_things():
    (pipeline,) = written()
    assert set(pipeline["root"]["dag"]["tasks"]) == {task.name for task in traced()}


def test_tasks_components_and_executors_name_each_other():
    (pipeline,) = written()
    tasks, components = pipeline["root"]["dag"]["tasks"], pipeline["components"]
    executors = pipeline["deploymentSpec"]["executors"]
    assert {task["componentRef"]["name"] for task in tasks.values()} == set(components)
    assert {component["executorLabel"] for component in components.values()} == set(executors)
    for task in tasks.values():
        component = components[task["componentRef"]["name"]]
        inputs = task.get("inputs", {}).get("artifacts", {})
        declared = component.get("inputDefinitions", {}).get("artifacts", {})
        assert set(inputs) == set(declared)
        for field, source in inputs.items():
            producer = tasks[source["taskOutputArtifact"]["producerTask"]]
            outputs = components[producer["componentRef"]["name"]]["outputDefinitions"]["artifacts"]
            assert outputs[source["taskOutputArtifact"]["outputArtifactKey"]] == declared[field]
        assert set(task.get("dependentTasks", ())) == {
            source["taskOutputArtifact"]["producerTask"] for source in inputs.values()
        }


def test_resources_are_those_of_the_settings():
    (pipeline,) = written(cpus=2.5, memory="8Gi", accelerator="nvidia.com/gpu", accelerators=4)
    with_accelerators = set()
    for name, container in containers(pipeline).items():
        resources = container["resources"]
        assert (resources["resourceCpuLimit"], resources["resourceMemoryLimit"]) == ("2.5", "8Gi")
        assert (resources["cpuLimit"], resources["memoryLimit"]) == (2.5, 8 * 2**30 / 1e9)
        if "accelerator" in resources:
            with_accelerators.add(name)
            assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
            assert resources["accelerator"]["resourceCount"] == "4"
    assert with_accelerators == {"exec-train", "exec-evaluate"}


def test_volume_secret_and_labels_are_in_the_second_document():
    pipeline, platform = written(root="/data/pipeline_root", **FULL)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(containers(pipeline))
    for name, executor in executors.items():
        assert executor["pvcMount"][0]["mountPath"] == "/data"
        assert executor["secretAsEnv"][0]["keyToEnv"] == [{"secretKey": "HF_TOKEN", "envVar": "HF_TOKEN"}]
        assert ("nodeSelector" in executor) == (name in ("exec-train", "exec-evaluate"))
    assert all("--root=/data/pipeline_root" in container["args"] for container in containers(pipeline).values())


def test_a_token_of_this_machine_is_not_in_the_file(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("KUBEFLOW_TOKEN", "kf_secret")
    assert "secret" not in json.dumps(written(**{**FULL, "hub_secret": None}))


def test_retries_and_reuse():
    (pipeline,) = written(retries=5)
    assert all(task["retryPolicy"]["maxRetryCount"] == 5 for task in pipeline["root"]["dag"]["tasks"].values())
    reused = [name for name, task in pipeline["root"]["dag"]["tasks"].items() if task["cachingOptions"]]
    assert reused == ["preprocess", "export"]
    (pipeline,) = written(retries=0)
    assert not any("retryPolicy" in task for task in pipeline["root"]["dag"]["tasks"].values())


def test_the_first_step_asks_the_later_ones_unless_they_need_what_it_lacks():
    def asked(pipeline):
        return {
            name: sum(argument.startswith("--preflight=") for argument in container["args"])
            for name, container in containers(pipeline).items()
        }

    (pipeline,) = written()
    assert asked(pipeline) == dict.fromkeys(containers(pipeline), 0) | {"exec-ingest": 7}
    (pipeline,) = written(accelerator="nvidia.com/gpu")
    assert asked(pipeline)["exec-ingest"] == 5


def test_steps_are_told_of_workers():
    (pipeline,) = written(workers=['--ray={"address":"auto"}'])
    assert all(container["args"][-1] == '--ray={"address":"auto"}' for container in containers(pipeline).values())


def test_the_file_is_as_it_was():
    """What Kubeflow and Vertex AI read. Write `golden_text()` to the golden file where it is meant to change."""
    assert golden_text() == GOLDEN.read_text("utf-8")


def test_an_image_without_the_project_says_so(tmp_path):
    """The command of a container, in a Python that has none of this program."""
    start = START.format(image="python:3.11-slim")
    ast.parse(start)
    done = subprocess.run([sys.executable, "-S", "-c", start], cwd=tmp_path, capture_output=True, text=True, env={})
    assert done.returncode == 1
    assert done.stderr.startswith("kubeflow.image must be an image of masked-lm-pipeline. Received: python:3.11-slim")
    assert "Way out: build it from the Dockerfile" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_projects_image_has_what_the_command_needs():
    """`python` is the one that the project is installed for, whoever runs it and wherever."""
    image = " ".join(f"{word} {rest}" for word, rest in stage(2))
    assert re.search(r"ENV PATH=/opt/venv/bin:\$PATH", image)
    assert "USER 10001:10001" in image
    assert "runners" in copied()
    packages = find_packages(str(ROOT), include=[name for name in setup("options.packages.find", "include") if name])
    assert {"runners", "runners.kubeflow"} <= set(packages)


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "localhost:8080"},
        {"host": "https://me:password@example.com"},
        {"pipeline_name": "Masked LM"},
        {"image": ""},
        {"image": 'x"y'},
        {"memory": "16 GB"},
        {"cpus": 0.0},
        {"cpus": float("inf")},
        {"accelerators": 0},
        {"retries": -1},
        {"volume": "A_B"},
        {"volume_path": "data"},
        {"volume_path": "/"},
        {"volume_path": "/{{x}}"},
        {"hub_secret": "a b"},
    ],
)
def test_what_kubernetes_would_refuse_later_is_refused_now(wrong):
    with pytest.raises(ConfigError) as caught:
        KubeflowParams(**wrong)
    assert f"kubeflow.{next(iter(wrong))} must" in str(caught.value)
    assert "password@" not in str(caught.value)
