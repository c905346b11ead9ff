"""A server that changes to another configuration while it serves: by gRPC, and by its file."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from serving.server.models.model_config import ModelConfig
from serving.server.models.served_models import ServedModels, load_configured
from serving.server.status import StatusError


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2, which add as much."""
    from tests.serving.server import example_model

    base = tmp_path_factory.mktemp("saved") / "m"
    for version in (1, 2):
        example_model.save(base / str(version), float(version))
    return base


@pytest.fixture
def server(saved: Path) -> Iterator[SimpleNamespace]:
    """A server that serves the latest version as `m`."""
    from serving.server.server import running

    model = load_configured(ModelConfig("m", saved))
    with (
        running([model], allow_reload_config=True) as at,
        httpx.Client(base_url=at.rest, trust_env=False) as client,
        grpc.insecure_channel(at.grpc) as channel,
    ):
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        yield SimpleNamespace(client=client, reload=lambda text: stub.HandleReloadConfigRequest(request(text)))


def config(name: str, base: Path, rest: str = "") -> str:
    return f"config {{ name: '{name}' base_path: '{base}' model_platform: 'tensorflow' {rest} }}"


def request(*configs: str) -> Any:
    text = f"config {{ model_config_list {{ {' '.join(configs)} }} }}" if configs != ("",) else ""
    return text_format.Parse(text, model_management_pb2.ReloadConfigRequest())


def ask(server: SimpleNamespace, path: str) -> Any:
    response = server.client.post(f"/v1/models/{path}:predict", json={"instances": [0]})
    return response.json()["predictions"][0] if response.status_code == 200 else response.status_code


def test_models_come_and_go(server: SimpleNamespace, saved: Path) -> None:
    one_model = config("m", saved)
    assert ask(server, "m") == 2.0
    response = server.reload(one_model + config("n", saved, "model_version_policy { specific { versions: 1 } }"))
    assert response.status.error_code == 0
    assert (ask(server, "m"), ask(server, "n")) == (2.0, 1.0)
    assert "&quot;name&quot;: &quot;n&quot;" in server.client.get("/").text
    server.reload(config("n", saved))
    [removed] = server.client.get("/v1/models/m").json()["model_version_status"]
    assert (removed["version"], removed["state"], removed["status"]["error_code"]) == ("2", "END", "OK")
    assert (ask(server, "m"), ask(server, "n")) == (404, 2.0)
    server.reload(config("n", saved.parent / "m/../m"))  # another path, so another model
    assert ask(server, "n") == 2.0


def test_nobody_changes_the_models_unless_it_was_allowed(saved: Path) -> None:
    from serving.server.server import running

    with (
        running([load_configured(ModelConfig("m", saved))]) as at,
        httpx.Client(base_url=at.rest, trust_env=False) as client,
        grpc.insecure_channel(at.grpc) as channel,
    ):
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        for text in (config("n", saved), ""):
            with pytest.raises(grpc.RpcError) as caught:
                stub.HandleReloadConfigRequest(request(text))
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
            assert "--allow-reload-config" in caught.value.details()
        assert ask(SimpleNamespace(client=client), "m") == 2.0
        assert ask(SimpleNamespace(client=client), "n") == 404


def test_versions_and_labels_follow(server: SimpleNamespace, saved: Path) -> None:
    both = "model_version_policy { specific { versions: 1 versions: 2 } } "
    with pytest.raises(grpc.RpcError) as caught:
        server.reload(config("m", saved, both + "version_labels { key: 'old' value: 1 }"))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "m version 1, which is not currently available for inference" in caught.value.details()
    assert ask(server, "m/versions/1") == 404
    server.reload(config("m", saved, both))
    server.reload(config("m", saved, both + "version_labels { key: 'old' value: 1 }"))
    assert (ask(server, "m/labels/old"), ask(server, "m")) == (1.0, 2.0)
    server.reload(config("m", saved))
    assert (ask(server, "m/versions/1"), ask(server, "m/labels/old")) == (404, 400)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "INVALID_ARGUMENT", "Only ModelConfigList is currently supported"),
        (
            "config { name: 'm' base_path: 'here' model_platform: 'tensorflow' }",
            "INVALID_ARGUMENT",
            "base_path must be",
        ),
        ("config { name: 'm' base_path: '/here' model_platform: 'x' }", "INVALID_ARGUMENT", "model_platform must"),
        (config("m", Path("/a")) + config("m", Path("/b")), "INVALID_ARGUMENT", "models must have different"),
        (config("k", Path("/nowhere")), "UNKNOWN", "Model k did not become available"),
        (
            config("k", Path(__file__)),
            "UNKNOWN",
            "Model k did not become available: the base path of model k must be",
        ),
    ],
)
def test_what_is_refused_changes_nothing(server: SimpleNamespace, text: str, code: str, message: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.reload(text)
    assert caught.value.code().name == code
    assert message in caught.value.details()
    assert ask(server, "m") == 2.0


def test_a_request_under_way_keeps_its_model(saved: Path) -> None:
    served = ServedModels([load_configured(ModelConfig("m", saved))])
    model = served["m"]
    with model.use() as (_, lent):
        served.change([])
        assert list(served) == []
        assert [(one.version, one.state) for one in model.statuses] == [(2, "UNLOADING")]
        assert lent.run("serving_default", {"x": np.zeros(1, np.float32)})["y"].tolist() == [2.0]
    assert [(one.version, one.state) for one in model.statuses] == [(2, "END")]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_file_is_followed(saved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(saved, tmp_path / "k")
    path = tmp_path / "models.config"
    served = ServedModels([load_configured(ModelConfig("m", saved))])
    path.write_text(f"model_config_list {{ {config('m', saved)} }}")
    served.follow(path, 0.02)
    path.write_text("what?")
    eventually(lambda: "nothing changes" in caplog.text)
    assert list(served) == ["m"]
    path.write_text(f"model_config_list {{ {config('k', tmp_path / 'k')} }}")
    eventually(lambda: list(served) == ["k"])
    served.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "model configuration"]


def test_a_label_may_wait_for_its_version_if_that_was_allowed(saved: Path) -> None:
    labelled = ModelConfig("m", saved, labels={"next": 3})
    for is_allowed in (False, True):
        served = ServedModels([load_configured(ModelConfig("m", saved))], load_configured, is_allowed)
        if is_allowed:
            served.change([labelled])
            served.change([labelled])  # the same once more is no change
            with pytest.raises(StatusError, match="version 4, which is not"):
                served.change([ModelConfig("m", saved, labels={"next": 4})])
        else:
            with pytest.raises(StatusError, match="FAILED_PRECONDITION"):
                served.change([labelled])
        served.close()
