"""Versions come, go and break while requests are answered."""

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import prediction_log_pb2

from foundation.errors import ServingError
from foundation.versions import EXAMPLE, TOKENIZER
from serving.server.models import model_versions
from serving.server.models.loading import Loading
from serving.server.models.model_directory import read_example
from serving.server.models.model_versions import ModelVersions
from serving.server.models.served_models import load
from serving.server.server import running
from serving.server.status import Code, StatusError
from tests.serving.server import example_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """The example model, by the number that it adds."""
    root = tmp_path_factory.mktemp("saved")
    return {offset: example_model.save(root / str(offset), offset) for offset in (1.0, 2.0)}


def publish(source: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}")
    shutil.copytree(source, partial)
    partial.rename(target)


@pytest.fixture
def base(tmp_path: Path, saved: dict[float, Path]) -> Path:
    (tmp_path / "m").mkdir()
    publish(saved[1.0], tmp_path / "m/1")
    return tmp_path / "m"


@pytest.fixture
def model(base: Path) -> Iterator[ModelVersions]:
    loaded = load(base)
    yield loaded
    loaded.close()


def ask(client: httpx.Client) -> float:
    response = client.post("/v1/models/m:predict", json={"instances": [0]})
    assert response.status_code == 200, response.text
    return response.json()["predictions"][0]


def states(client: httpx.Client) -> list[tuple[str, str, str]]:
    listed = client.get("/v1/models/m").json()["model_version_status"]
    return [(one["version"], one["state"], one["status"]["error_code"]) for one in listed]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_new_version_takes_over_without_a_failed_request(
    base: Path, model: ModelVersions, saved: dict[float, Path]
) -> None:
    with running([model]) as at, httpx.Client(base_url=at.rest, trust_env=False) as client:
        model.watch(0.05)
        seen: list[float] = []
        done = threading.Event()

        def keep_asking() -> None:
            with httpx.Client(base_url=at.rest, trust_env=False) as other:
                while not done.is_set():
                    seen.append(ask(other))

        askers = [threading.Thread(target=keep_asking) for _ in range(3)]
        for asker in askers:
            asker.start()
        try:
            eventually(lambda: bool(seen))
            publish(saved[2.0], base / "2")
            eventually(lambda: states(client)[0] == ("2", "AVAILABLE", "OK"))
            eventually(lambda: seen[-1] == 2.0)
        finally:
            done.set()
            for asker in askers:
                asker.join()
        assert set(seen) == {1.0, 2.0}
        eventually(lambda: states(client) == [("2", "AVAILABLE", "OK"), ("1", "END", "OK")])
        assert client.post("/v1/models/m/versions/1:predict", json={"instances": [0]}).status_code == 404

        shutil.rmtree(base / "2")
        eventually(lambda: ask(client) == 1.0)
        assert states(client) == [("2", "END", "OK"), ("1", "AVAILABLE", "OK")]


def break_graph(version: Path) -> None:
    (version / "saved_model.pb").write_bytes(b"no graph")


def break_variables(version: Path) -> None:
    (version / "variables/variables.data-00000-of-00001").write_bytes(b"")


def remove_graph(version: Path) -> None:
    (version / "saved_model.pb").unlink()


def warm_up_wrongly(version: Path) -> None:
    example_model.write_warm_up(version, "serving_default", 1, "no number")


def warm_up_an_unknown_signature(version: Path) -> None:
    example_model.write_warm_up(version, "nosig", 1)


def warm_up_too_often(version: Path) -> None:
    example_model.write_warm_up(version, "serving_default", 1001)


def warm_up_with_garbage(version: Path) -> None:
    (version / "assets.extra").mkdir()
    (version / "assets.extra/tf_serving_warmup_requests").write_bytes(b"no TFRecord file")


def warm_up_with_a_damaged_tensor(version: Path) -> None:
    log = prediction_log_pb2.PredictionLog()
    tensor = log.predict_log.request.inputs["x"]
    tensor.dtype, tensor.tensor_content = types_pb2.DT_FLOAT, b"\0\0\0"
    tensor.tensor_shape.dim.add(size=2)
    example_model.write_warm_up_records(version, [log.SerializeToString()])


@pytest.mark.parametrize(
    "spoil",
    [
        break_graph,
        break_variables,
        remove_graph,
        warm_up_wrongly,
        warm_up_an_unknown_signature,
        warm_up_too_often,
        warm_up_with_garbage,
        warm_up_with_a_damaged_tensor,
    ],
)
def test_a_broken_version_leaves_the_old_one_serving_and_is_tried_again_when_it_changes(
    base: Path,
    model: ModelVersions,
    saved: dict[float, Path],
    tmp_path: Path,
    spoil: Callable[[Path], None],
) -> None:
    shutil.copytree(saved[2.0], tmp_path / "spoilt")
    spoil(tmp_path / "spoilt")
    publish(tmp_path / "spoilt", base / "2")
    with running([model]) as at, httpx.Client(base_url=at.rest, trust_env=False) as client:
        with pytest.raises(StatusError):
            model.refresh()
        # As long as it is tried again, TensorFlow Serving calls it loading.
        assert states(client)[0] == ("2", "LOADING", "OK")
        model.loading = dataclasses.replace(model.loading, retry_seconds=0.0)
        model.watch(0.05)
        eventually(lambda: states(client)[0][1] == "END")
        version, _, code = states(client)[0]
        assert version == "2"
        assert code != "OK"
        assert client.get("/v1/models/m").json()["model_version_status"][0]["status"]["error_message"]
        assert ask(client) == 1.0
        shutil.rmtree(base / "2")
        publish(saved[2.0], base / "2")
        eventually(lambda: ask(client) == 2.0)


def test_warm_up_requests_are_answered_before_serving(tmp_path: Path, saved: dict[float, Path]) -> None:
    from serving.server.models.saved_model import SavedModel
    from serving.server.models.warm_up import warm_up

    shutil.copytree(saved[1.0], tmp_path / "1")
    example_model.write_warm_up(tmp_path / "1", "", 1000)
    loaded = SavedModel(tmp_path / "1")
    assert warm_up(loaded) == 1000
    loaded.close()


@pytest.mark.parametrize("late", [2, 5])
def test_a_warm_up_request_that_takes_too_long_is_asked_again(
    tmp_path: Path, saved: dict[float, Path], late: int
) -> None:
    """The first call makes what later ones reuse, which takes its time on a busy machine."""
    from serving.server.models.saved_model import SavedModel
    from serving.server.models.warm_up import warm_up

    class LateAtFirst(SavedModel):
        calls = 0

        def run(self, *arguments: Any, **others: Any) -> dict[str, Any]:
            self.calls += 1
            if self.calls <= late:
                raise StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
            return super().run(*arguments, **others)

    shutil.copytree(saved[1.0], tmp_path / "1")
    example_model.write_warm_up(tmp_path / "1", "", 3)
    loaded = LateAtFirst(tmp_path / "1")
    if late < 5:
        assert warm_up(loaded) == 3
        assert loaded.calls == 2 + 3
    else:
        with pytest.raises(StatusError, match=r"record 1 of .* longer than a call may, 5 times.*--timeout-seconds"):
            warm_up(loaded)
    loaded.close()


def warm_up_logs(signature: str) -> list[prediction_log_pb2.PredictionLog]:
    """A log of every kind that has examples, for a classify signature, a regress signature, or both."""
    classify, regress, multi = (prediction_log_pb2.PredictionLog() for _ in range(3))
    tasks = multi.multi_inference_log.request.tasks
    classify.classify_log.request.model_spec.signature_name = signature
    regress.regress_log.request.model_spec.signature_name = "regress"
    tasks.add(method_name="tensorflow/serving/classify").model_spec.signature_name = signature
    tasks.add(method_name="tensorflow/serving/regress").model_spec.signature_name = "regress"
    for log in (classify.classify_log, regress.regress_log, multi.multi_inference_log):
        log.request.input.example_list.examples.add().features.feature["x"].float_list.value.append(0.5)
    return [classify, regress, multi]


def test_warm_up_requests_of_every_kind(tmp_path: Path) -> None:
    from serving.server.models.saved_model import SavedModel
    from serving.server.models.warm_up import warm_up

    version = example_model.save_classifier(tmp_path / "c/1")
    loaded = SavedModel(version)
    good = [log.SerializeToString() for log in warm_up_logs("")]
    example_model.write_warm_up_records(version, [b"", *good])
    assert warm_up(loaded) == 4
    session_run = prediction_log_pb2.PredictionLog()
    session_run.session_run_log.SetInParent()
    regression, _, task = warm_up_logs("regress")
    for wrong, message in (
        (session_run, "UNIMPLEMENTED: Unsupported log_type of warmup record 4: session_run_log"),
        (regression, "No classification inputs found"),
        (task, "No classification inputs found"),
        (warm_up_logs("nosig")[2], 'FAILED_PRECONDITION: Serving signature key "nosig" not found'),
    ):
        example_model.write_warm_up_records(version, [*good, wrong.SerializeToString()])
        with pytest.raises(StatusError, match=message):
            warm_up(loaded)
    loaded.close()


def test_whatever_a_version_fails_of_is_its_status(
    base: Path, model: ModelVersions, saved: dict[float, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise KeyError("unforeseen")

    with monkeypatch.context() as broken:
        broken.setattr(model_versions, "warm_up", fail)
        publish(saved[2.0], base / "2")
        with pytest.raises(StatusError, match=r"INTERNAL: Could not load .*KeyError: 'unforeseen'"):
            model.refresh()
    assert [(one.version, one.state) for one in model.statuses] == [(1, "AVAILABLE"), (2, "LOADING")]
    publish(saved[2.0], base / "3")
    model.refresh()
    assert model.serving_version == 3


def test_watching_goes_on_after_a_fault(
    base: Path, model: ModelVersions, saved: dict[float, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    find, faults = model._find, iter([ValueError("unforeseen"), OSError("gone")])

    def fail_first() -> dict[int, Path]:
        for fault in faults:
            raise fault
        return find()

    monkeypatch.setattr(model, "_find", fail_first)
    publish(saved[2.0], base / "2")
    model.watch(0.05)
    eventually(lambda: model.serving_version == 2)


def test_a_base_path_that_goes_away_takes_no_version_along(
    base: Path, model: ModelVersions, saved: dict[float, Path]
) -> None:
    away = base.rename(base.with_name("away"))
    with pytest.raises(FileNotFoundError):
        model.refresh()
    assert model.serving_versions == [1]
    model.watch(0.05)
    publish(saved[2.0], away / "2")
    away.rename(base)
    eventually(lambda: model.serving_versions == [2])


@pytest.mark.parametrize("spoil", [break_graph, warm_up_with_a_damaged_tensor])
def test_a_version_that_breaks_at_the_start_is_an_error(
    tmp_path: Path, saved: dict[float, Path], spoil: Callable[[Path], None]
) -> None:
    shutil.copytree(saved[1.0], tmp_path / "m/00003")
    spoil(tmp_path / "m/00003")
    with pytest.raises(ServingError, match=r"version 3 in .*push the model again"):
        load(tmp_path / "m")


def test_a_broken_version_that_is_deleted_ends_and_is_forgotten(
    base: Path, model: ModelVersions, saved: dict[float, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2, 5):
        publish(saved[2.0], base / str(number))
        break_graph(base / str(number))
        with pytest.raises(StatusError):
            model.refresh()
        assert {one.version: one.state for one in model.statuses}[number] == "LOADING"
        shutil.rmtree(base / str(number))
        model.refresh()
        assert {one.version: one.state for one in model.statuses}[number] == "END"
    monkeypatch.setattr(model_versions, "FORGOTTEN_SECONDS", 0.0)
    model.refresh()
    assert [(one.version, one.state) for one in model.statuses] == [(1, "AVAILABLE")]


def test_the_example_is_the_text_that_travels_with_the_model(base: Path, model: ModelVersions) -> None:
    assert model.example is None
    (base / "1" / EXAMPLE).parent.mkdir(exist_ok=True)
    (base / "1" / EXAMPLE).write_bytes("The <mask>é.".encode())
    assert read_example(base / "1") == "The <mask>é."
    (base / "1" / EXAMPLE).write_bytes(b"\xff")
    assert read_example(base / "1") is None
    (base / "1" / TOKENIZER).mkdir()
    (base / "1" / TOKENIZER / "tokenizer_config.json").write_text('{"mask_token": "[MASK]"}')
    assert read_example(base / "1") == "[MASK]"


def test_loading_as_it_is_asked_for(base: Path, saved: dict[float, Path]) -> None:
    example_model.write_warm_up(base / "1", "nosig", 1)
    with pytest.raises(ServingError, match="nosig"):
        load(base)
    load(base, loading=Loading(warm_up=False)).close()
    with pytest.raises(ServingError, match="none"):
        load(base, loading=Loading(tags=("none",), warm_up=False))


def test_a_single_saved_model_is_served_as_version_1(tmp_path: Path, saved: dict[float, Path]) -> None:
    model = load(saved[1.0], "alone")
    assert (model.name, model.serving_version) == ("alone", 1)
    model.close()


def test_requests_over_the_limit_are_told_to_come_back(model: ModelVersions) -> None:
    from serving.server.limits.settings import Limits

    with running([model], Limits(pending_requests=1)) as at, httpx.Client(base_url=at.rest, trust_env=False) as client:

        def keep_busy() -> None:
            # It may be the one that is refused, where it meets the other request.
            body = {"signature_name": "slow", "inputs": [300]}
            while (
                httpx.post(f"{at.rest}/v1/models/m:predict", json=body, timeout=60, trust_env=False).status_code != 200
            ):
                pass

        slow = threading.Thread(target=keep_busy)
        slow.start()
        eventually(lambda: "try again later" in client.post("/v1/models/m:predict", json={"inputs": [1.0]}).text)
        assert client.get("/v1/models/m").status_code == 200
        slow.join()
        assert ask(client) == 1.0
