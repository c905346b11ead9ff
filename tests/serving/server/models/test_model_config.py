"""A model configuration file: several models, which versions of them, and labels."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from foundation.errors import ConfigError, ServingError
from serving.server.command_line import model_configs
from serving.server.models.model_config import ModelConfig, VersionPolicy, read
from serving.server.options import make_parser
from tests.serving.server import example_model

MODEL = "name: '{}' base_path: '{}' model_platform: 'tensorflow'"


def write(path: Path, *models: str) -> Path:
    configs = "\n".join(f"  config {{ {model} }}" for model in models)
    path.write_text(f"model_config_list {{\n{configs}\n}}\n")
    return path


@pytest.mark.parametrize(
    ("text", "policy", "labels"),
    [
        ("", VersionPolicy(latest=1), {}),
        ("model_version_policy { latest { num_versions: 2 } }", VersionPolicy(latest=2), {}),
        ("model_version_policy { latest { } }", VersionPolicy(latest=1), {}),
        ("model_version_policy { all { } }", VersionPolicy(latest=None), {}),
        (
            "model_version_policy { specific { versions: 4 versions: 2 } } version_labels { key: 'stable' value: 2 }",
            VersionPolicy(latest=None, specific=(4, 2)),
            {"stable": 2},
        ),
    ],
)
def test_what_a_file_says(tmp_path: Path, text: str, policy: VersionPolicy, labels: dict[str, int]) -> None:
    path = write(tmp_path / "models", f"{MODEL.format('m', '/models/m')} {text}", MODEL.format("n", "/models/n"))
    assert read(path) == [
        ModelConfig("m", Path("/models/m"), policy, labels),
        ModelConfig("n", Path("/models/n")),
    ]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nam: 'm'", r'models:2:.*no field named "nam"'),
        (MODEL.format("", "/m"), "the name must not be empty"),
        (MODEL.format("m", "m"), "base_path must be absolute"),
        ("name: 'm' base_path: '/m' model_platform: 'other'", "model_platform must be 'tensorflow'"),
        ("name: 'm' base_path: '/m'", "model_platform must be 'tensorflow'"),
        (MODEL.format("m", "/m") + "model_version_policy { specific { versions: -1 } }", "not negative"),
        (MODEL.format("m", "/m") + "model_type: TENSORFLOW", "must not both be given"),
        ("name: 'm' base_path: '/m' model_type: OTHER", "model_platform must be 'tensorflow'"),
        (MODEL.format("m", "/m") + "logging_config { }", "logging_config must be left out"),
        (MODEL.format("m", "/m") + "version_labels { key: 'a/b' value: 1 }", "labels must not be empty"),
        (MODEL.format("m", "/m") + "} config {" + MODEL.format("m", "/m"), "different names"),
    ],
)
def test_a_file_that_cannot_be_meant(tmp_path: Path, model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(write(tmp_path / "models", model))


def test_what_tensorflow_serving_takes_too(tmp_path: Path) -> None:
    text = "name: 'a/b' base_path: '/m' model_type: TENSORFLOW model_version_policy { specific { } }"
    [model] = read(write(tmp_path / "models", text))
    assert (model.name, model.policy) == ("a/b", VersionPolicy(latest=None, specific=()))
    assert model.policy.choose({1: Path("1")}) == {}


def test_a_file_without_models(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    for name, message in (("empty", "one or more models"), ("none", "No such file")):
        with pytest.raises(ConfigError, match=message):
            read(tmp_path / name)


def test_labels_need_the_option_that_tensorflow_serving_needs(tmp_path: Path) -> None:
    path = write(tmp_path / "models", MODEL.format("m", "/m") + "version_labels { key: 'stable' value: 1 }")
    arguments = ["--model-config-file", str(path)]
    with pytest.raises(ConfigError, match=r"stable in .*add the option"):
        model_configs(make_parser().parse_args(arguments))
    arguments.append("--allow-version-labels-for-unavailable-models")
    [config] = model_configs(make_parser().parse_args(arguments))
    assert config.labels == {"stable": 1}


@given(
    found=st.sets(st.integers(0, 9)),
    latest=st.none() | st.integers(1, 5),
    specific=st.none() | st.lists(st.integers(0, 9)).map(tuple),
)
def test_a_policy_chooses_among_what_there_is(
    found: set[int], latest: int | None, specific: tuple[int, ...] | None
) -> None:
    chosen = set(VersionPolicy(latest, specific).choose({version: Path(str(version)) for version in found}))
    assert chosen <= found
    if specific is not None:
        assert chosen == found & set(specific)
    else:
        assert len(chosen) == (len(found) if latest is None else min(latest, len(found)))
        assert all(other < version for version in chosen for other in found - chosen)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions of the example model, each adding its number."""
    root = tmp_path_factory.mktemp("saved") / "m"
    for number in (1, 2, 3):
        example_model.save(root / str(number), float(number))
    return root


def ask(client: httpx.Client, place: str = "") -> tuple[int, object]:
    response = client.post(f"/v1/models/m{place}:predict", json={"instances": [0]})
    return response.status_code, response.json().get("predictions", response.json().get("error"))


def test_versions_and_labels_answer_side_by_side(saved: Path) -> None:
    from serving.server.models.served_models import load_configured
    from serving.server.server import running

    labels = {"stable": 1, "canary": 3, "gone": 2}
    model = load_configured(ModelConfig("m", saved, VersionPolicy(None, (1, 3)), labels))
    other = load_configured(ModelConfig("n", saved, VersionPolicy(latest=None)))
    with running([model, other]) as at, httpx.Client(base_url=at.rest, trust_env=False) as client:
        assert ask(client) == (200, [3.0])
        assert ask(client, "/versions/1") == (200, [1.0])
        assert ask(client, "/labels/stable") == (200, [1.0])
        assert ask(client, "/labels/canary") == (200, [3.0])
        assert ask(client, "/versions/2") == (404, "Servable not found for request: Specific(m, 2)")
        assert ask(client, "/labels/gone") == (404, "Servable not found for request: Specific(m, 2)")
        assert ask(client, "/labels/other") == (400, "Unrecognized servable version label: other")
        metadata = client.get("/v1/models/m/labels/stable/metadata").json()
        assert metadata["model_spec"]["version"] == "1"
        listed = client.get("/v1/models/n").json()["model_version_status"]
        assert [(one["version"], one["state"]) for one in listed] == [(n, "AVAILABLE") for n in "321"]
        with grpc.insecure_channel(at.grpc) as channel:
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.version_label = "m", "stable"
            request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.zeros(1, np.float32)))
            response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
            assert tf.make_ndarray(response.outputs["y"]).tolist() == [1.0]
            assert response.model_spec.version.value == 1
    model.close()
    other.close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_two_latest_follow_the_disk(saved: Path, tmp_path: Path) -> None:
    from serving.server.models.served_models import load_configured

    base = tmp_path / "m"
    for number in "12":
        shutil.copytree(saved / number, base / number)
    model = load_configured(ModelConfig("m", base, VersionPolicy(latest=2)))
    assert model.serving_versions == [1, 2]
    model.watch(0.05)
    shutil.copytree(saved / "3", base / ".3")
    (base / ".3").rename(base / "3")
    eventually(lambda: model.serving_versions == [2, 3])
    shutil.rmtree(base / "3")
    eventually(lambda: model.serving_versions == [1, 2])
    model.close()


def test_a_version_that_is_not_there_is_an_error(saved: Path, tmp_path: Path) -> None:
    from serving.server.models.served_models import load_configured

    for path, policy in ((saved, VersionPolicy(None, (9,))), (tmp_path / "none", VersionPolicy())):
        with pytest.raises(ServingError, match="must have a version to serve"):
            load_configured(ModelConfig("m", path, policy))


def test_the_command_serves_a_file(saved: Path, tmp_path: Path) -> None:
    from test_server_command import started

    path = write(
        tmp_path / "models",
        MODEL.format("m", saved) + "version_labels { key: 'stable' value: 3 }",
        MODEL.format("n", saved) + "model_version_policy { specific { versions: 1 versions: 2 } }",
    )
    options = ["--model-config-file", path, "--allow-version-labels-for-unavailable-models", "--port", 0]
    with started(*options) as process:
        lines = [process.stdout.readline()]
        while "tensorflow_model_server" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        assert lines[0].startswith("m version 3, loaded in")
        assert lines[2].startswith("n versions 1, 2, loaded in")
        assert f"--model_config_file={path}" in lines[-1]
        base = lines[0].split()[-1].removesuffix("/v1/models/m")
        with httpx.Client(base_url=base, trust_env=False) as client:
            assert ask(client, "/labels/stable") == (200, [3.0])
        process.terminate()
        assert process.wait(30) == 0
