"""Push to the Hub as a step of a run: what it leaves, when it holds, what it refuses, and where the token isn't."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.contract.artifacts import Blocks, Pushed
from components.publishing.params import PushParams
from components.push import Push
from foundation.errors import ConfigError, HubError, PipelineError
from runners.local import LocalRunner
from tests.blessing import bless
from tests.loopback_hub.faults import Fault
from tests.loopback_hub.fixtures import TOKEN, environment, running_hub  # noqa: F401 (a fixture)
from tests.loopback_hub.server import Account
from tests.loopback_hub.small_artifacts import make

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made"))


def make_push(made, tmp_path, **params):
    values = {"serving_dir": str(tmp_path / "serving"), "hub_model_id": "answers", "license": "mit", "language": "en"}
    blessing = bless(tmp_path / "blessing", made.model)
    parts = (
        made.model,
        blessing,
        made.evaluation,
        made.checkpoint,
        made.tokenizer,
        made.corpus,
        Blocks(made.corpus.path),
    )
    return Push(*parts, PushParams(**{**values, **params}))


def execute(push, tmp_path):
    """Runs the step as a run does; its artifact and the run's record."""
    record = LocalRunner(tmp_path / "root", show=lambda line: None).execute(lambda run: run(push), {})
    return Pushed(record.artifacts["push"]), record


def files_with(secret, *directories):
    paths = [path for directory in directories for path in directory.rglob("*") if path.is_file()]
    assert paths
    return [path for path in paths if secret.encode() in path.read_bytes()]


def test_serving_directory_and_hub(hub, made, tmp_path):
    pushed, record = execute(make_push(made, tmp_path, include_saved_model=True), tmp_path)
    report = pushed.report
    log = hub.repositories["ada/answers"].log()
    assert report.hub.repo_id == "ada/answers"
    assert report.hub.commit == log[0][0]
    assert report.hub.url == f"{hub.endpoint}/ada/answers/tree/{log[0][0]}"
    assert report.hub.url in record.content["steps"][-1]["summary"]
    assert [subject for _, subject in log] == ["End of training", "initial commit"]
    held = hub.repositories["ada/answers"].digests()
    assert {name: held[name] for name in report.hub.files} == report.hub.files
    assert "saved_model/1/saved_model.pb" in held
    card = hub.repositories["ada/answers"].read("README.md").decode()
    assert 'model="ada/answers"' in card
    assert (Path(report.path) / "saved_model.pb").is_file()
    assert files_with(TOKEN, tmp_path / "root", tmp_path / "serving") == []


def test_again_is_a_no_op_while_the_hub_holds_it(hub, made, tmp_path):
    push = make_push(made, tmp_path)
    pushed, _ = execute(push, tmp_path)
    hub.journal.clear()
    _, record = execute(push, tmp_path)
    assert record.content["steps"][-1]["status"] == "cached"
    assert hub.sent() == []
    hub.repositories["ada/answers"].commit("by hand", {"push.json": b"{}"}, [])
    assert not push.holds(pushed)


def test_weights_that_another_replaced_are_pushed_again(hub, made, tmp_path):
    push = make_push(made, tmp_path)
    pushed, _ = execute(push, tmp_path)
    repository = hub.repositories["ada/answers"]
    repository.commit("by hand", {"model.safetensors": b"somebody else's"}, [])
    assert not push.holds(pushed)
    repository.commit("by hand", {}, ["model.safetensors"])
    before = pushed.report.hub.files
    pushed, record = execute(push, tmp_path)
    assert record.content["steps"][-1]["status"] == "ran"
    assert repository.digests()["model.safetensors"] == before["model.safetensors"]
    assert push.holds(pushed)


def test_a_cached_push_needs_neither_hub_nor_token(hub, made, tmp_path, monkeypatch):
    push = make_push(made, tmp_path)
    pushed, _ = execute(push, tmp_path)
    monkeypatch.delenv("HF_TOKEN")
    assert push.holds(pushed)


def test_without_a_repository_no_hub_and_no_token(hub, made, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    pushed, _ = execute(make_push(made, tmp_path, hub_model_id=None, license=None), tmp_path)
    assert pushed.report.hub is None
    assert not (pushed.directory / "hub").exists()
    assert hub.journal == []


def test_a_push_that_failed_goes_on(hub, made, tmp_path):
    push = make_push(made, tmp_path, hub_model_id="lovelace/answers")
    hub.faults.add(Fault("/commit/", status=403, times=1))
    with pytest.raises(HubError):
        execute(push, tmp_path)
    record = json.loads((tmp_path / "root/runs/latest/run.json").read_text())
    assert record["status"] == "failed"
    assert "write permission" in record["error"]
    hub.journal.clear()
    pushed, _ = execute(push, tmp_path)
    assert pushed.report.hub.created
    assert pushed.report.version == 1
    assert not pushed.report.created  # it stood in the serving directory already
    assert hub.sent("^/lfs/") == []
    assert files_with(TOKEN, tmp_path / "root") == []


def test_dry_run_shows_files_sizes_and_card_and_sends_nothing(hub, made, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    push = make_push(made, tmp_path, dry_run=True)
    pushed, _ = execute(push, tmp_path)
    page = pushed.report.page
    size = (pushed.directory / "hub/model.safetensors").stat().st_size
    assert f"{size:,}  model.safetensors" in page
    assert "pipeline_tag: fill-mask" in page
    assert hub.journal == []
    assert not (tmp_path / "serving").exists()
    assert not push.holds(pushed)


def test_preflight_refuses_before_anything_runs(hub, made, tmp_path):
    hub.accounts[TOKEN] = Account("ada", role="read")
    with pytest.raises(HubError, match="role read"):
        execute(make_push(made, tmp_path), tmp_path)
    assert hub.sent() == []
    assert not (tmp_path / "serving").exists()


def test_an_unforeseen_error_leaves_a_traceback_without_the_token(hub, made, tmp_path, monkeypatch):
    from components.hub import repository as hub_repository

    def broken(*arguments, **options):
        raise KeyError("unforeseen")

    monkeypatch.setattr(hub_repository.HubRepository, "_commit", broken)
    with pytest.raises(PipelineError):
        execute(make_push(made, tmp_path), tmp_path)
    assert list((tmp_path / "root").rglob("traceback.txt"))
    assert files_with(TOKEN, tmp_path / "root") == []


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "a/b/c",
        "a b",
        "-a",
        "a--b",
        "a..b",
        "name.git",
        "ends-",
        "ends.",
        "/a",
        "a/",
        "https://huggingface.co/a/b",
        "ä/b",
        "x" * 97,
    ],
)
def test_repository_names_that_are_none(wrong):
    with pytest.raises(ConfigError, match=r"push\.hub_model_id"):
        PushParams(hub_model_id=wrong, license="mit")


@pytest.mark.parametrize("right", ["a", "a/b", "A_1/b.c-d", "0/1", "x" * 96])
def test_repository_names(right):
    from huggingface_hub.utils import validate_repo_id

    assert PushParams(hub_model_id=right, license="mit").hub_target.repo_id == right
    validate_repo_id(right)


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"hub_model_id": "a/b"}, "push.license"),
        ({"hub_model_id": "a/b", "license": "my own"}, "push.license"),
        ({"hub_model_id": "a/b", "license": "mit", "language": "English"}, "push.language"),
        ({"hub_model_id": "a/b", "license": "mit", "commit_message": " "}, "push.commit_message"),
        ({"during_training": True}, "push.during_training"),
    ],
)
def test_settings_that_no_push_can_work_with(params, key):
    with pytest.raises(ConfigError, match=key):
        PushParams(**params)


def test_uploads_during_training_follow_the_settings():
    params = PushParams(
        hub_model_id="a/b", license="mit", language="de,fr", hub_private_repo=True, during_training=True
    )
    uploads = params.training_observer
    assert uploads.target.private
    assert uploads.languages == ("de", "fr")
    assert dataclasses.replace(params, during_training=False).training_observer is None
    assert dataclasses.replace(params, dry_run=True).training_observer is None


TINY = """\
tokenizer: {vocab_size: 400}
preprocess: {block_size: 16}
train:
  model_type: roberta
  model_config: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 24,
                 max_position_embeddings: 40}
  epochs: 2
  max_steps: 8
  learning_rate: 1.0e-3
evaluate: {max_blocks: 200, min_improvement_over_unigram: null}
push: {hub_model_id: answers, license: mit, language: en, during_training: true, include_saved_model: true,
       include_tf_weights: true, hub_private_repo: true}
"""


@pytest.fixture
def command(tmp_path, hub):
    """The whole pipeline's command line on a few sentences, and its environment."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    sentences = ["the cat sat on the mat and looked at the sun", "a dog ran over the hill to the far side of it"]
    with open(tmp_path / "answers.jsonl", "w") as file:
        for index in range(160):  # enough test records for the gate's interval
            text = f"{sentences[index % 2]} {index} times"
            file.write(json.dumps({"answers": {"text": [text, "and so on and on"]}}) + "\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    arguments = [sys.executable, str(ROOT / "pipeline.py"), "--config", str(tmp_path / "tiny.yaml")]
    arguments += ["--root", str(tmp_path / "root"), "--ingest.path", str(tmp_path / "answers.jsonl")]
    return arguments, {**clean, **environment(hub, tmp_path), "PYTHONFAULTHANDLER": "1"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_whole_run_reaches_the_hub_by_its_environment_alone(hub, command, tmp_path):
    arguments, variables = command
    done = subprocess.run(arguments, env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    repository = hub.repositories["ada/answers"]
    assert repository.private
    subjects = [subject for _, subject in repository.log()]
    assert subjects[-1] == "initial commit"
    assert subjects[:2] == ["End of training", "Trained, not evaluated yet"]
    record = json.loads((tmp_path / "root/runs/latest/run.json").read_text())
    pushed = Pushed(tmp_path / "root" / record["steps"][-1]["artifact"]).report
    held = repository.digests()
    assert {name: held[name] for name in pushed.hub.files} == pushed.hub.files
    assert pushed.hub.url in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert files_with(TOKEN, tmp_path / "root", tmp_path / "home") == []
    again = subprocess.run(arguments, env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-3000:]
    [push] = [line for line in again.stdout.splitlines() if line.split()[:1] == ["push"]]
    assert push.split()[1] == "cached"
    offline = {**variables, "HF_HUB_OFFLINE": "1"}
    third = subprocess.run(arguments, env=offline, cwd=tmp_path, capture_output=True, text=True)
    assert third.returncode == 0, third.stderr[-3000:]
    assert " ran " not in third.stdout
    [told] = [line for line in third.stdout.splitlines() if "unchecked" in line]
    assert told.split()[0] == "evaluate"
    assert third.stderr.count("what the Hub holds is not checked, but taken for granted") == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("major", ["4", "5"])
def test_a_stranger_with_pytorch_asks_the_pushed_model(hub, made, tmp_path, major):
    """The card's example over the network, in transformers 4 and 5 with PyTorch."""
    from tests.own_environment import EnvironmentMissing, python_with

    try:
        python = python_with(f"PyTorch, transformers {major}")
    except EnvironmentMissing as error:
        pytest.skip(str(error))
    execute(make_push(made, tmp_path), tmp_path)
    card = hub.repositories["ada/answers"].read("README.md").decode()
    example, *_ = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert 'pipeline("fill-mask", model="ada/answers")' in example
    asked = "fill_mask('the <mask> sat on the mat .')"
    script = f"{example}\nimport json, transformers\nprint(json.dumps([transformers.__version__, {asked}]))"
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("HF_", "PYTHON", "TRANSFORMERS_"))}
    home = tmp_path / "stranger"
    variables = {**clean, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home)}
    done = subprocess.run([python, "-c", script], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    version, answers = json.loads(done.stdout.splitlines()[-1])
    assert version.startswith(major)
    assert len(answers) == 5
    expected = fill_mask_with_keras(made)
    assert [answer["token"] for answer in answers] == [answer["token"] for answer in expected]
    assert answers[0]["score"] == pytest.approx(expected[0]["score"], rel=1e-3)
    shutil.rmtree(home)


def fill_mask_with_keras(made):
    from transformers import AutoTokenizer, FillMaskPipeline

    from components.modeling.checkpoint import load_masked_lm

    tokenizer = AutoTokenizer.from_pretrained(made.checkpoint.model_directory)
    fill = FillMaskPipeline(load_masked_lm(made.checkpoint.model_directory), tokenizer, framework="tf")
    return fill("the <mask> sat on the mat .")
