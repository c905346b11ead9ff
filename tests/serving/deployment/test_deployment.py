"""The deployment files: what their programs take, agreeing with one another and with what the pipeline pushes."""

import importlib.resources
import json
import re
import shutil
import string
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from google.protobuf import text_format

import pipeline
from components.publishing.params import PushParams
from runners.command_line.options import build_parser
from serving import deployment_flags
from serving.__main__ import TENSORFLOW_SERVING_IMAGE
from tests.left_out_protos import batching_parameters, monitoring_config

DEPLOYMENT = Path(pipeline.__file__).parent / "serving/deployment"
KUBERNETES_VERSION = "1.34"
MODEL_NAME = PushParams().model_name


def variables() -> dict[str, str]:
    lines = (DEPLOYMENT / ".env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def read_compose() -> dict[str, Any]:
    """The compose file with its variables filled in, merge keys resolved."""
    text = string.Template((DEPLOYMENT / "compose.yaml").read_text("utf-8")).substitute(variables())
    return yaml.safe_load(text)


def check_compose(compose: dict[str, Any]) -> None:
    """Raises what the Compose Specification's own schema has against it."""
    vendored = importlib.resources.files("check_jsonschema.builtin_schemas.vendor") / "compose-spec.json"
    schema = json.loads(vendored.read_text("utf-8"))
    jsonschema.validators.validator_for(schema)(schema).validate(compose)


def manifests() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((DEPLOYMENT / "kubernetes.yaml").read_text("utf-8"))
    return {document["kind"]: document for document in documents}


def container() -> dict[str, Any]:
    [container] = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return container


def parse(file: str, message: Any) -> Any:
    """A text proto read into an empty message; unknown fields and wrong values raise."""
    return text_format.Parse((DEPLOYMENT / file).read_text("utf-8"), message)


def read_model(file: str) -> Any:
    """The one model of a model config."""
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    [model] = parse(file, ModelServerConfig()).model_config_list.config
    return model


@pytest.mark.parametrize("file", ["models.config", "models_pinned.config"])
def test_the_model_config_names_what_the_pipeline_pushes(file: str) -> None:
    model = read_model(file)
    assert model.name == MODEL_NAME
    assert model.base_path == f"/models/{MODEL_NAME}"
    assert model.model_platform == "tensorflow"


def test_alone_the_latest_version_serves_and_on_a_cluster_a_pinned_one() -> None:
    latest = read_model("models.config")
    pinned = read_model("models_pinned.config")
    assert latest.model_version_policy.latest.num_versions == 1
    assert len(pinned.model_version_policy.specific.versions) == 1


@pytest.mark.parametrize("file", ["../graph/batching_params.pbtxt"])
def test_batching_takes_the_warmed_up_batch_and_changes_no_answer(file: str) -> None:
    from serving.graph.saved_model_extras import LARGEST_BATCH

    batching = parse(file, batching_parameters())
    assert batching.max_batch_size.value == LARGEST_BATCH
    assert not batching.pad_variable_length_inputs
    assert not batching.enable_large_batch_splitting.value


def test_every_configuration_file_that_compose_mounts_is_there() -> None:
    files = [DEPLOYMENT / config["file"] for config in read_compose()["configs"].values()]
    assert [file for file in files if not file.is_file()] == []


def test_prometheus_asks_where_the_metrics_are() -> None:
    monitoring = parse("monitoring.config", monitoring_config()).prometheus_config
    [job] = yaml.safe_load((DEPLOYMENT / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    annotations = manifests()["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert monitoring.enable
    assert job["metrics_path"] == monitoring.path == annotations["prometheus.io/path"]
    aliases = read_compose()["x-serving"]["networks"]["default"]["aliases"]
    assert job["static_configs"] == [{"targets": [f"{aliases[0]}:8501"]}]


def test_the_compose_file_follows_the_specification() -> None:
    compose = read_compose()
    check_compose(compose)
    compose["services"]["serving-gpu"]["profile"] = ["gpu"]
    with pytest.raises(jsonschema.ValidationError, match="'profile' was unexpected"):
        check_compose(compose)


def test_one_service_for_a_gpu_and_one_for_a_cpu_never_both_unasked() -> None:
    services = read_compose()["services"]
    assert {name: service["profiles"] for name, service in services.items()} == {
        "serving-gpu": ["gpu"],
        "serving-cpu": ["cpu"],
        "prometheus": ["monitoring"],
    }
    [device] = services["serving-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "deploy" not in services["serving-cpu"]


def test_there_is_one_version_of_tensorflow_serving() -> None:
    services = read_compose()["services"]
    kustomization = yaml.safe_load((DEPLOYMENT / "kustomization.yaml").read_text("utf-8"))
    assert services["serving-cpu"]["image"] == TENSORFLOW_SERVING_IMAGE
    assert services["serving-gpu"]["image"] == f"{TENSORFLOW_SERVING_IMAGE}-gpu"
    assert container()["image"] == kustomization["images"][0]["name"]
    assert f"{container()['image']}:{kustomization['images'][0]['newTag']}" == f"{TENSORFLOW_SERVING_IMAGE}-gpu"


def test_compose_mounts_the_pipelines_serving_directory_and_every_file_of_the_command() -> None:
    compose = read_compose()
    root = build_parser().get_default("root")
    pushed = Path(pipeline.__file__).parent / root / PushParams().serving_dir
    for service in (compose["services"]["serving-gpu"], compose["services"]["serving-cpu"]):
        [models] = service["volumes"]
        assert (DEPLOYMENT / models["source"]).resolve() == pushed.resolve()
        assert models["target"] == "/models"
        mounted = {config["target"]: config["source"] for config in service["configs"]}
        flags = [flag.split("=")[1] for flag in service["command"]]
        values = [*flags, *service["entrypoint"], *service["healthcheck"]["test"]]
        assert sorted(value for value in values if value.startswith("/")) == sorted(mounted)
        assert all((DEPLOYMENT / compose["configs"][source]["file"]).is_file() for source in mounted.values())


def test_compose_watches_the_ports_that_it_opens() -> None:
    for service in (read_compose()["services"]["serving-gpu"], read_compose()["services"]["serving-cpu"]):
        assert service["entrypoint"][-4:] == [MODEL_NAME, "8501", "10", "tensorflow_model_server"]
        assert service["healthcheck"]["test"][-3:-1] == [MODEL_NAME, "8501"]
        # The check is over before it would be cut off without a word.
        assert int(service["healthcheck"]["test"][-1]) + 1 < int(service["healthcheck"]["timeout"].removesuffix("s"))
        assert service["restart"] == "unless-stopped"
        assert service["command"][:2] == ["--port=8500", "--rest_api_port=8501"]


def test_nothing_is_open_to_the_network_unasked() -> None:
    assert variables()["HOST_ADDRESS"] == "127.0.0.1"
    for service in read_compose()["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.parametrize("kind", list(manifests()))
def test_the_manifest_follows_kubernetes_schemas(kind: str) -> None:
    kubernetes_validate.validate(manifests()[kind], KUBERNETES_VERSION, strict=True)


def test_the_schemas_refuse_what_kubernetes_does_not_know() -> None:
    deployment = manifests()["Deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(deployment, KUBERNETES_VERSION, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kustomize_adds_the_image_and_a_config_map_that_is_named_by_its_content(tmp_path: Path) -> None:
    def build() -> dict[str, dict[str, Any]]:
        command = ["kubectl", "kustomize", str(tmp_path / "deployment")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}

    shutil.copytree(DEPLOYMENT, tmp_path / "deployment")
    names = []
    for version in (1, 7):
        pinned = tmp_path / "deployment/models_pinned.config"
        pinned.write_text(pinned.read_text("utf-8").replace("versions: 1", f"versions: {version}"), "utf-8")
        built = build()
        for document in built.values():
            kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
        pod = built["Deployment"]["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == f"{TENSORFLOW_SERVING_IMAGE}-gpu"
        assert pod["volumes"][1]["configMap"]["name"] == built["ConfigMap"]["metadata"]["name"]
        assert f"versions: {version}" in built["ConfigMap"]["data"]["models.config"]
        names.append(built["ConfigMap"]["metadata"]["name"])
    assert names[0] != names[1]  # so another version is another pod template, which rolls over


def test_a_gpu_gives_the_scores_that_a_cpu_gives() -> None:
    assert read_compose()["services"]["serving-gpu"]["environment"]["NVIDIA_TF32_OVERRIDE"] == "0"
    assert {"name": "NVIDIA_TF32_OVERRIDE", "value": "0"} in container()["env"]


def test_replicas_have_a_gpu_and_change_over_one_by_one() -> None:
    spec = manifests()["Deployment"]["spec"]
    assert container()["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "replicas" not in spec  # the autoscaler's
    target = manifests()["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", manifests()["Deployment"]["metadata"]["name"])


def test_a_claim_and_a_config_map_stand_behind_every_mount() -> None:
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    kustomization = yaml.safe_load((DEPLOYMENT / "kustomization.yaml").read_text("utf-8"))
    [generated] = kustomization["configMapGenerator"]
    models, config, temporary = pod["volumes"]
    assert "emptyDir" in temporary
    assert models["persistentVolumeClaim"]["claimName"] == manifests()["PersistentVolumeClaim"]["metadata"]["name"]
    assert config["configMap"]["name"] == generated["name"]
    files = dict(([*file.split("="), file])[:2] for file in generated["files"])
    assert all((DEPLOYMENT / file).is_file() for file in files.values())
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    named = [value for value in (flag.split("=", 1)[1] for flag in container()["args"]) if value.startswith("/")]
    assert sorted(named) == sorted(f"{mounts['config']}/{name}" for name in files)
    assert mounts["models"] == "/models"


def test_labels_and_ports_lead_from_the_service_to_the_replicas() -> None:
    every = manifests()
    labels = every["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert every["Service"]["spec"]["selector"] == every["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert every["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    assert {port["targetPort"] for port in every["Service"]["spec"]["ports"]} == set(ports)


def test_the_server_writes_to_temporary_files_only_and_has_no_privileges() -> None:
    for name, service in read_compose()["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    context = container()["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert [mount["name"] for mount in container()["volumeMounts"] if not mount.get("readOnly")] == ["tmp"]


def test_only_labelled_pods_reach_the_ports_and_no_server_batches() -> None:
    every = manifests()
    policy, service = every["NetworkPolicy"]["spec"], every["Service"]["spec"]
    assert policy["podSelector"]["matchLabels"] == service["selector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert not policy["egress"]
    [ingress] = policy["ingress"]
    assert {port["port"] for port in ingress["ports"]} == {port["port"] for port in service["ports"]}
    # A batching server never answers a request of no rows.
    flags = [*container()["args"], *read_compose()["services"]["serving-cpu"]["command"]]
    assert not [flag for flag in flags if "batching" in flag]


def test_the_files_have_the_flags_with_which_the_validate_step_starts_its_server() -> None:
    shared = [*deployment_flags.PORTS, *deployment_flags.flags("/config")]
    assert container()["args"] == [*shared, deployment_flags.CONNECTION_AGE]
    for name in ("serving-cpu", "serving-gpu"):
        assert read_compose()["services"][name]["command"] == [*shared, deployment_flags.CROSS_ORIGIN]


def test_every_flag_of_the_files_and_of_the_page_is_tensorflow_servings() -> None:
    from serving.server.options import make_parser
    from serving.server.tensorflow_serving_flags import NOT_TAKEN, OTHER_NAMES

    page = (DEPLOYMENT.parents[1] / "docs/serve_in_production.md").read_text("utf-8")
    given = [*container()["args"], *read_compose()["services"]["serving-gpu"]["command"]]
    given += re.findall(r"--[a-z]+(?:_[a-z]+)+", page)
    known = {*NOT_TAKEN, *OTHER_NAMES, *make_parser()._option_string_actions}
    assert [flag for flag in given if flag.partition("=")[0].replace("_", "-") not in known] == []


def test_sigterm_ends_a_replica_whose_requests_have_been_answered() -> None:
    """TensorFlow Serving handles no signals, and the system keeps from process 1 what it doesn't handle."""
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    assert pod["shareProcessNamespace"]  # process 1 is the pod's own, not the server or the image's script
    assert container()["command"] == ["tensorflow_model_server"]
    _, seconds = container()["lifecycle"]["preStop"]["exec"]["command"]
    off_the_service, one_request = 10, 30
    assert off_the_service + one_request < int(seconds) < pod["terminationGracePeriodSeconds"]


def test_a_model_that_lies_elsewhere_has_the_deployments_configuration(tmp_path: Path) -> None:
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    base_path = tmp_path / 'a "quoted" directory'
    deployment_flags.write_config(tmp_path, base_path)
    [given] = text_format.Parse(
        (tmp_path / "models.config").read_text("utf-8"), ModelServerConfig()
    ).model_config_list.config
    [deployed] = text_format.Parse(
        (DEPLOYMENT / "models.config").read_text("utf-8"), ModelServerConfig()
    ).model_config_list.config
    assert given.base_path == str(base_path)
    deployed.base_path = given.base_path
    assert given == deployed
    assert (tmp_path / "monitoring.config").read_bytes() == (DEPLOYMENT / "monitoring.config").read_bytes()
