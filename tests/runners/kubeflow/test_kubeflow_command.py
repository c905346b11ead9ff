"""`--runner kubeflow` as a user types it."""

import pytest
import yaml

import pipeline
from tests.runners.kubeflow.kubeflow_server import serving


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBEFLOW_TOKEN", raising=False)
    return tmp_path


def command(*arguments):
    return pipeline.main(["--runner", "kubeflow", *arguments])


def tasks(path):
    return list(next(yaml.safe_load_all(path.read_text()))["root"]["dag"]["tasks"])


def test_the_file_is_written_and_nothing_else(here, capsys):
    assert command("--kubeflow.volume", "claim", "--kubeflow.accelerator", "nvidia.com/gpu") == 0
    assert [path.name for path in here.iterdir()] == ["pipeline.yaml"]
    assert len(tasks(here / "pipeline.yaml")) == 8
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "quickstart · Kubeflow pipeline masked-lm-pipeline · image masked-lm-pipeline:latest"
    assert lines[4] == "  train       makes checkpoint (system.Model)        on 4 cores, 16G, 1 × nvidia.com/gpu"
    assert lines[-1] == "Pipeline    pipeline.yaml"


def test_until_and_plan(here, capsys):
    assert command("--until", "train", "--kubeflow.output", "four.yaml") == 0
    assert tasks(here / "four.yaml") == ["ingest", "tokenizer", "preprocess", "train"]
    assert command("--until", "train", "--plan", "--kubeflow.host", "http://127.0.0.1:9") == 0
    assert [path.name for path in here.iterdir()] == ["four.yaml"]
    assert "checkpoint" in capsys.readouterr().out


def test_no_wait_reaches_the_step(here):
    assert command("--no_wait", "--kubeflow.volume", "claim") == 0
    assert '"lock_timeout_seconds":0.0' in (here / "pipeline.yaml").read_text()


def test_it_is_submitted(here, capsys):
    with serving() as server:
        arguments = ["--until", "preprocess", "--name", "first-try", "--kubeflow.host", server.url]
        assert command(*arguments) == 0
        assert [run["display_name"] for run in server.runs] == ["first-try"]
        assert f"Run         {server.url}/#/runs/details/run-0" in capsys.readouterr().out
    assert command(*arguments) == 1
    assert "reached from here" in capsys.readouterr().err
    assert (here / "pipeline.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--force", "train"], "--force must be left out with --runner kubeflow"),
        (["--tracking", "mlflow"], "--tracking must be left out"),
        (["--tracking_uri", "http://127.0.0.1"], "--tracking_uri must be left out"),
        ([], "push must have a place that outlasts its container"),
        (["--ingest.path", "notes.txt"], "ingest.path must name nothing on this machine's disk"),
        (["--kubeflow.volume", "claim", "--kubeflow.output", "no/such/folder.yaml"], "must be a file that can be"),
        (["--kubeflow.volume", "claim", "--root", "/elsewhere"], "--root must be below kubeflow.volume_path, /data"),
        (["--until", "train", "--name", "mine"], "--name must be given with --kubeflow.host"),
        (["--kubeflow.volume", "c", "--kubeflow.host", "http://127.0.0.1:9", "--name", "a b"], "a run's name must"),
        (["--until", "tokenizer", "--tokenizer.add_tokens", str([f"w{n}" for n in range(20_000)])], "100,000 bytes"),
        (["--until", "train", "--ray.address", "auto"], "ray.address must be given with a volume"),
    ],
)
def test_what_can_not_work_is_refused_before_anything_is_written(here, capsys, arguments, message):
    assert command(*arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(here.iterdir())


def test_ray_shares_the_work_where_it_sees_the_files(here, capsys):
    assert command("--kubeflow.volume", "claim", "--ray.address", "head:6379", "--ray.workers", "4") == 0
    assert "steps share their work with Ray at head:6379" in capsys.readouterr().out
    text = (here / "pipeline.yaml").read_text()
    assert text.count('--ray={"address": "head:6379", "workers": 4') == 8
