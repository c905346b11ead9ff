"""Uploading a pipeline and starting its run, over real HTTP on loopback."""

import socket

import pytest

from components.config.runner_settings import KubeflowParams
from runners.kubeflow.specification import as_text
from runners.kubeflow.submission import SubmissionError, submit
from tests.runners.kubeflow.kubeflow_server import serving
from tests.runners.kubeflow.parts import traced

TEXT = "pipelineInfo:\n  name: masked-lm-pipeline\n---\nplatforms: {}\n"


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("KUBEFLOW_TOKEN", raising=False)


def settings(server, **more):
    return KubeflowParams(host=server.url, **more)


def test_a_pipeline_is_uploaded_and_runs_and_then_a_version_of_it():
    with serving() as server:
        first = submit(TEXT, settings(server), "my run")
        second = submit(TEXT, settings(server))
        assert [pipeline["display_name"] for pipeline in server.pipelines] == ["masked-lm-pipeline"]
        assert [version["pipeline_id"] for version in server.versions] == ["p0", "p0"]
        assert [version["display_name"] for version in server.versions] == ["masked-lm-pipeline", second.version]
        assert [run["display_name"] for run in server.runs] == ["my run", second.version]
        started = [run["pipeline_version_reference"]["pipeline_version_id"] for run in server.runs]
        assert started == ["v0", "v1"]
        assert not any("experiment_id" in run for run in server.runs)
        assert first.url == f"{server.url}/#/runs/details/run-0"
        assert second.run_id == "run-1"


def test_what_is_uploaded_is_the_file():
    kubeflow = {"volume": "claim"}
    text = as_text(traced("tokenizer", kubeflow=kubeflow), KubeflowParams(**kubeflow), None)
    with serving() as server:
        submit(text, settings(server))
        pipeline, platform = server.versions[0]["pipeline_spec"]
    assert list(pipeline["root"]["dag"]["tasks"]) == ["ingest", "tokenizer"]
    assert "platforms" in platform


def test_a_run_belongs_to_the_experiment_and_namespace():
    with serving() as server:
        submit(TEXT, settings(server, namespace="team", experiment="masked"))
        submit(TEXT, settings(server, namespace="team", experiment="masked"))
        submit(TEXT, settings(server, namespace="team"))
        assert server.experiments == [
            {"display_name": "masked", "namespace": "team", "experiment_id": "e0"},
            {"display_name": "Default", "namespace": "team", "experiment_id": "e1"},
        ]
        assert [run["experiment_id"] for run in server.runs] == ["e0", "e0", "e1"]
        assert [pipeline["namespace"] for pipeline in server.pipelines] == ["team"]


def test_a_token_is_sent_and_never_shown(monkeypatch):
    with serving(token="right") as server:
        with pytest.raises(SubmissionError, match="without a token") as caught:
            submit(TEXT, settings(server))
        assert "KUBEFLOW_TOKEN" in caught.value.remedy
        monkeypatch.setenv("KUBEFLOW_TOKEN", "wrong-and-secret")
        with pytest.raises(SubmissionError, match="with a token") as caught:
            submit(TEXT, settings(server))
        assert "wrong-and-secret" not in str(caught.value)
        assert "401" in caught.value.received
        monkeypatch.setenv("KUBEFLOW_TOKEN", "right\n")
        assert submit(TEXT, settings(server)).run_id == "run-0"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((403, '{"message": "User may not list pipelines"}'), "must let you list its pipelines.*User may not list"),
        ((302, ""), "must let you list its pipelines.*302"),
        ((400, '{"error_message": "Invalid namespace"}'), "must list its pipelines.*400 .*Invalid namespace"),
        ((404, "404 page not found"), "404 page not found.*older than version 2"),
        ((500, '["odd"]'), "must list its pipelines.*500"),
        ((200, "<html>A page</html>"), "must be the address of Kubeflow Pipelines 2.*A page"),
        ((200, '{"pipelines": [{"id": "of version 1"}]}'), "must be the address of Kubeflow Pipelines 2"),
    ],
)
def test_a_refusal_says_what_was_refused_and_the_way_out(answer, message):
    with serving(answers=[answer]) as server:
        with pytest.raises(SubmissionError, match=f"(?s){message}"):
            submit(TEXT, settings(server))
        assert not server.runs


def test_an_unreachable_server_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and doesn't listen
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SubmissionError, match="reached from here") as caught:
            submit(TEXT, KubeflowParams(host=host))
    assert "kubectl port-forward" in caught.value.remedy
