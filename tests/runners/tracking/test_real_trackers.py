"""The trackers against the real programs: an MLflow server, files of Weights & Biases, TensorBoard's own reader."""

import os
import socket
import struct
import subprocess
import sys
import time
import urllib.request

import pytest

from runners.tracking.choice import chosen_trackers
from runners.tracking.mlflow import MLflow
from tests.own_environment import EnvironmentMissing, python_with
from tests.runners.tracking.trained_steps import STEPS, loss_at, run, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def server(tmp_path, port):
    """The address of an MLflow server."""
    try:
        python = python_with("MLflow server")
    except EnvironmentMissing as missing:
        pytest.skip(str(missing))
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", f"{tmp_path}/files"]
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *store]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{python.parent}:{os.environ['PATH']}"}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            address, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
            while time.monotonic() < end:
                try:
                    urllib.request.urlopen(f"{address}/health", timeout=5)
                    break
                except OSError:
                    time.sleep(0.5)
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def test_a_run_goes_on_in_the_same_run_of_an_mlflow_server(tmp_path, server):
    def interrupt(step):
        if step == 4:
            raise KeyboardInterrupt

    root = tmp_path / "root"
    config = {
        "train": {"learning_rate": 1e-3, "model_config": {"layers": 2}},
        "ingest": {"path": "http://me:pw@host/x"},
    }
    with pytest.raises(KeyboardInterrupt):
        run(root, *chosen_trackers(["mlflow"], server, "exp"), name="small", config=config, after=interrupt)
    client = MLflow(server, "exp").client
    [cut_off] = client.search_runs([client.get_experiment_by_name("exp").experiment_id])
    assert cut_off.info.status == "KILLED"
    assert cut_off.data.metrics["train/loss"] == loss_at(4)
    record = run(root, *chosen_trackers(["mlflow"], server, "exp"), name="small", config=config)
    [found] = client.search_runs([client.get_experiment_by_name("exp").experiment_id])
    assert found.info.run_id == cut_off.info.run_id
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "small"
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(each.step, each.value) for each in history] == [(step, loss_at(step)) for step in range(1, STEPS + 1)]
    assert found.data.metrics["validation/loss"] == 2.0
    assert found.data.params["train.learning_rate"] == "0.001"
    assert found.data.params["train.model_config.layers"] == "2"
    assert found.data.params["ingest.path"] == "http://host/x"
    assert found.data.tags["pipeline.run_id"] == record.id
    assert found.data.tags["pipeline.status"] == "succeeded"
    assert found.data.tags["pipeline.checkpoint"].startswith(str(root))
    assert [each.path for each in client.list_artifacts(found.info.run_id)] == ["report.html"]
    again = run(root, *chosen_trackers(["mlflow"], server, "exp"), name="small", config=config)
    assert again.content["steps"][0]["status"] == "cached"
    assert len(client.search_runs([client.get_experiment_by_name("exp").experiment_id])) == 2


def test_a_server_that_is_down_is_told_once_and_costs_seconds(tmp_path, port):
    import mlflow  # noqa: F401  # its import takes seconds, which aren't the run's

    lines, began = [], time.monotonic()
    record = run(tmp_path, *chosen_trackers(["mlflow"], f"http://127.0.0.1:{port}"), show=lines.append)
    assert record.content["status"] == "succeeded"
    assert time.monotonic() - began < 30
    assert sum("mlflow" in line and "out of reach" in line for line in lines) == 1


def logged(content, block_size=32768, head=7):
    """The records of a file in LevelDB's log format: blocks of parts with checksum, length and kind (1: whole)."""
    place, record = head, b""
    while place + head <= len(content):
        if block_size - place % block_size < head:
            place += block_size - place % block_size
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        record += content[place + head : place + head + length]
        place += head + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_an_offline_run_of_weights_and_biases_holds_what_was_told(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    record = run(tmp_path, *chosen_trackers(["wandb"], project="words"), name="small")
    from wandb.proto import wandb_internal_pb2

    [path] = record.directory.glob("wandb/offline-run-*/*.wandb")

    def records():
        return [wandb_internal_pb2.Record.FromString(data) for data in logged(path.read_bytes())]

    # The library's own process writes the file.
    assert wait_until(lambda: any(each.HasField("exit") for each in records()))
    assert b"0123456789abcdef01234567" not in path.read_bytes()
    losses, config, summary, name = {}, {}, {}, None
    for each in records():
        if each.HasField("run"):
            name = each.run.display_name
            config |= {item.key: item.value_json for item in each.run.config.update}
        for kind, items in (("history", each.history.item), ("summary", each.summary.update)):
            values = {item.key or item.nested_key[0]: item.value_json for item in items}
            if kind == "history" and "train/loss" in values:
                losses[int(values["step"])] = float(values["train/loss"])
            if kind == "summary":
                summary |= values
    assert name == "small"
    assert losses == {step: loss_at(step) for step in range(1, STEPS + 1)}
    assert float(config["train.learning_rate"]) == 1e-3
    assert summary["status"] == '"succeeded"'


READ = """
import sys
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata
runs = EventMultiplexer().AddRunsFromDirectory(sys.argv[1])
runs.Reload()
for name in sorted(runs.Runs()):
    tags = runs.GetAccumulator(name).summary_metadata
    print(name, sorted(tags))
    start = tags.get(metadata.SESSION_START_INFO_TAG)
    if start:
        found = metadata.parse_session_start_info_plugin_data(start.plugin_data.content)
        print("learning rate", found.hparams["train.learning_rate"].number_value)
"""


def test_tensorboard_reads_the_runs_by_their_names(tmp_path):
    first = run(tmp_path, name="small")
    second = run(tmp_path, name="large", config={"train": {"learning_rate": 2e-3}})
    done = subprocess.run([sys.executable, "-c", READ, str(tmp_path / "tensorboard")], capture_output=True, text=True)
    names = [line.split(" ")[0] for line in done.stdout.splitlines() if "learning rate" not in line]
    expected = [f"{name}-{each.id[-4:]}" for name, each in (("large", second), ("small", first))]
    assert names == [f"{name}{kind}" for name in expected for kind in ("", "/train", "/validation")], done.stderr[
        -2000:
    ]
    assert "learning rate 0.002" in done.stdout
    assert "learning rate 0.001" in done.stdout
