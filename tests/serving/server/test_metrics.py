"""The metrics page: TensorFlow Serving's names, in a format that Prometheus reads."""

import dataclasses
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from foundation.errors import ConfigError
from serving.server import metrics
from serving.server.batching.parameters import ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED
from serving.server.batching.scheduler import BatchScheduler
from serving.server.command_line import metrics_path
from serving.server.metrics import Metrics
from serving.server.options import make_parser


def samples(page: str) -> dict[str, float]:
    """The page's series by name and labels, read as strictly as Prometheus does."""
    found: dict[str, float] = {}
    for line in page.splitlines():
        if line.startswith("# "):
            assert line.split()[1] in ("HELP", "TYPE"), line
            continue
        name, value = line.rsplit(" ", 1)
        assert name not in found, name
        found[name] = float(value)
    return found


def test_what_requests_leave_on_the_page(example_version: Path) -> None:
    from serving.server.models.served_models import load
    from serving.server.server import running

    meter = Metrics()
    scheduler = BatchScheduler(ANSWER_ALONE_WHAT_CANNOT_BE_BATCHED, meter)
    model = load(example_version.parent, scheduler=scheduler, meter=meter)
    with (
        running([model], meter=meter) as at,
        httpx.Client(base_url=at.rest, trust_env=False) as client,
        grpc.insecure_channel(at.grpc) as channel,
    ):
        for body in ({"inputs": [1, 2]}, {"instances": [1]}, {"inputs": "a"}):
            client.post("/v1/models/m:predict", json=body)
        for number in range(3):
            client.post(f"/v1/models/made-up-{number}:predict", json={"inputs": 1})
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones(1, np.float32)))
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
        answer = client.get("/monitoring/prometheus/metrics")
    model.close()
    scheduler.close()
    assert answer.headers["Content-Type"].startswith("text/plain")
    page = samples(answer.text)
    serving = ":tensorflow:serving"
    assert page[f'{serving}:request_count{{model_name="m",status="OK"}}'] == 3
    assert page[f'{serving}:request_count{{model_name="m",status="INVALID_ARGUMENT"}}'] == 1
    assert page[f'{serving}:request_count{{model_name="",status="NOT_FOUND"}}'] == 3
    rest = 'model_name="m",API="predict",entrypoint="REST"'
    assert page[f"{serving}:request_latency_count{{{rest}}}"] == 2
    assert page[f'{serving}:request_latency_bucket{{{rest},le="+Inf"}}'] == 2
    assert page[f'{serving}:request_latency_count{{model_name="m",API="Predict",entrypoint="GRPC"}}'] == 1
    assert page[f'{serving}:runtime_latency_count{{model_name="m",API="Predict",runtime="TF1"}}'] == 3
    buckets = [value for name, value in page.items() if name.startswith(f"{serving}:request_latency_bucket{{{rest}")]
    assert len(buckets) == 34
    assert buckets == sorted(buckets)
    pool = 'thread_pool_name="batch_threads"'
    assert page[f"{serving}:batching_session:queuing_latency_count{{{pool}}}"] == 3
    assert page[f"{serving}:batching_session:input_batch_size_sum{{{pool}}}"] == 4
    assert (
        page[f':tensorflow:cc:saved_model:load_attempt_count{{model_path="{example_version}",status="success"}}'] == 1
    )


def test_the_bounds_are_tensorflow_serving_s() -> None:
    meter = Metrics()
    meter.observe(metrics.RUNTIME_LATENCY, 18.0, "m", "Predict", "TF1")
    bounds = [name.split('le="')[1][:-2] for name in samples(meter.page()) if "_bucket" in name]
    assert bounds[:4] == ["10", "18", "32.4", "58.32"]
    assert "708235" in bounds
    assert bounds[-1] == "+Inf"
    assert [value for name, value in samples(meter.page()).items() if "_bucket" in name][:2] == [0, 1]


def test_labels_are_escaped() -> None:
    meter = Metrics()
    meter.count(metrics.REQUEST_COUNT, 'a"b\\c\nd', "OK")
    assert r'{model_name="a\"b\\c\nd",status="OK"} 1' in meter.page()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (None, metrics.PATH),
        ("prometheus_config { enable: true }", metrics.PATH),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ("prometheus_config { enable: false }", None),
        ("", None),
    ],
)
def test_a_monitoring_configuration_moves_the_page(tmp_path: Path, text: str | None, path: str | None) -> None:
    arguments = ["--model-dir", "."]
    if text is not None:
        (tmp_path / "monitoring").write_text(text)
        arguments += ["--monitoring-config-file", str(tmp_path / "monitoring")]
    assert metrics_path(make_parser().parse_args(arguments)) == path


@pytest.mark.parametrize("text", ["prometheus { }", 'prometheus_config { enable: true path: "metrics" }'])
def test_a_monitoring_configuration_that_cannot_be_meant(tmp_path: Path, text: str) -> None:
    (tmp_path / "monitoring").write_text(text)
    options = make_parser().parse_args(["--model-dir", ".", "--monitoring-config-file", str(tmp_path / "monitoring")])
    with pytest.raises(ConfigError, match="--monitoring-config-file"):
        metrics_path(options)


def test_the_page_answers_while_there_is_too_much_to_do(example_version: Path) -> None:
    from serving.server.limits.settings import Limits
    from serving.server.models.served_models import load
    from serving.server.server import running

    model = load(example_version.parent)
    limits = dataclasses.replace(Limits(), pending_requests=0)
    with running([model], limits) as at, httpx.Client(base_url=at.rest, trust_env=False) as client:
        assert client.post("/v1/models/m:predict", json={"inputs": [1]}).status_code == 503
        assert client.get("/v1/models/m").status_code == 200
        assert client.get(metrics.PATH).status_code == 200
    model.close()
