"""The manifest of a RayJob: its command is one of ours, and its pods have what the command asks for."""

import configparser
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import pipeline
from components.config.command_line import config_of
from components.config.pipeline_config import Config
from runners.command_line.next_commands import COMMAND
from runners.command_line.options import build_parser, parse_options
from tests.serving.deployment.test_deployment import KUBERNETES_VERSION

ROOT = Path(pipeline.__file__).parent
CLUSTER_KEYS = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
JOB_KEYS = {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "rayClusterSpec"}
"""Those of the fields of KubeRay's v1 (ray-operator/apis/ray/v1) that the manifest has."""


def manifests() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((ROOT / "serving/deployment/rayjob.yaml").read_text("utf-8"))
    return {document["kind"]: document for document in documents}


def cluster() -> dict[str, Any]:
    return manifests()["RayJob"]["spec"]["rayClusterSpec"]


def templates() -> dict[str, dict[str, Any]]:
    [workers] = cluster()["workerGroupSpecs"]
    return {"head": cluster()["headGroupSpec"]["template"], "workers": workers["template"]}


def container(group: str) -> dict[str, Any]:
    [container] = templates()[group]["spec"]["containers"]
    return container


def entrypoint() -> tuple[Config, str]:
    """The configuration of the job's command, and its root."""
    command, *arguments = shlex.split(manifests()["RayJob"]["spec"]["entrypoint"])
    assert command == COMMAND
    options = parse_options(build_parser(), arguments)
    assert options.runner == "ray"
    return config_of(options), options.root


def test_the_job_has_fields_that_kuberay_knows_and_goes_when_it_is_done() -> None:
    job = manifests()["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    assert set(job["spec"]) == JOB_KEYS
    assert set(cluster()) == CLUSTER_KEYS
    assert job["spec"]["shutdownAfterJobFinishes"]
    assert cluster()["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("group", ["head", "workers"])
def test_pods_follow_kubernetes_schemas(group: str) -> None:
    pods = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": group}, "template": templates()[group]}
    kubernetes_validate.validate(pods, KUBERNETES_VERSION, strict=True)
    templates_with_a_slip = {**pods, "template": {**pods["template"], "spce": {}}}
    with pytest.raises(kubernetes_validate.ValidationError, match="spce"):
        kubernetes_validate.validate(templates_with_a_slip, KUBERNETES_VERSION, strict=True)


def test_the_claim_follows_kubernetes_schemas_and_may_be_written_by_many() -> None:
    claim = manifests()["PersistentVolumeClaim"]
    kubernetes_validate.validate(claim, KUBERNETES_VERSION, strict=True)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_workers_of_the_command_each_fill_a_pod() -> None:
    ray = entrypoint()[0].ray
    [workers] = cluster()["workerGroupSpecs"]
    assert ray.address == "auto"
    assert ray.workers == workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"]
    limits = container("workers")["resources"]["limits"]
    assert ray.gpus_per_worker == limits["nvidia.com/gpu"]
    assert ray.cpus_per_worker == float(limits["cpu"])
    # None of them is in the driver's pod.
    assert cluster()["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert "nvidia.com/gpu" not in container("head")["resources"]["limits"]


def test_head_and_workers_see_the_root_and_the_text_at_the_same_path() -> None:
    config, root = entrypoint()
    claim = manifests()["PersistentVolumeClaim"]["metadata"]["name"]
    mounts = [container(group)["volumeMounts"] for group in templates()]
    volumes = [template["spec"]["volumes"] for template in templates().values()]
    assert mounts[0] == mounts[1] == [{"name": "pipeline", "mountPath": "/pipeline"}]
    assert volumes[0] == volumes[1] == [{"name": "pipeline", "persistentVolumeClaim": {"claimName": claim}}]
    assert root.startswith("/pipeline/")
    assert str(config.ingest.path).startswith("/pipeline/")
    environment = {each["name"]: each.get("value") for each in container("workers")["env"]}
    assert environment["HF_HOME"].startswith("/pipeline/")
    assert container("head")["env"] == container("workers")["env"]


def test_all_pods_have_one_image_with_the_ray_that_the_project_installs() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", "utf-8")
    line = next(line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line.startswith("ray=="))
    assert cluster()["rayVersion"] == line.removeprefix("ray==")
    assert container("head")["image"] == container("workers")["image"]
    # Jobs come in by the dashboard, which is no part of the extra `ray`.
    assert "ray[default,data,train]" in settings["options.extras_require"]["kuberay"]


def test_pods_run_as_the_images_user_without_privileges() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    for group, template in templates().items():
        user = template["spec"]["securityContext"]
        assert f"\nUSER {user['runAsUser']}:{user['runAsGroup']}\n" in dockerfile
        assert user["fsGroup"] == user["runAsGroup"]
        assert not template["spec"]["automountServiceAccountToken"]
        assert container(group)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
