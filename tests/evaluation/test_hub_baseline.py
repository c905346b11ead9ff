"""The last blessed model on the Hub, found among the commits of a real repository on loopback."""

import dataclasses

import pytest

from components.contract.artifacts import Blocks, Checkpoint, Corpus, Tokenizer
from components.contract.push_record import PushedTo
from components.evaluate import Evaluate
from components.evaluation.baseline import MOST_COMMITS, find_baseline
from components.evaluation.params import EvaluateParams
from components.hub.access import HubTarget
from components.hub.repository import HubRepository
from components.hub.seal import SEAL, seal
from foundation.errors import HubError
from tests.loopback_hub.faults import Fault
from tests.loopback_hub.fixtures import running_hub  # noqa: F401 (a fixture)


@pytest.fixture
def push(tmp_path):
    """Pushes a model of which only the seal matters; returns the commit."""

    def push(**facts):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / SEAL).unlink(missing_ok=True)
        (tmp_path / "folder/README.md").write_text(f"---\nlicense: mit\n---\n{facts}")
        seal(tmp_path / "folder", facts)
        target = HubTarget("model")
        return HubRepository(target, attempts=3, first_pause_seconds=0.05).upload(tmp_path / "folder", "a push").commit

    return push


def find(tmp_path, repo_id="ada/model"):
    return find_baseline("last_blessed", PushedTo(str(tmp_path / "nowhere"), repo_id), "mine")


def test_it_is_the_newest_blessed_commit_that_is_not_the_model_itself(hub, tmp_path, push):
    push(stage="trained", blessed=True, model_digest="first")
    second = push(stage="trained", blessed=True, model_digest="second")
    push(stage="training", epoch=1)
    push(stage="trained", blessed=False, model_digest="third")
    push(stage="trained", blessed=True, model_digest="mine")
    found = find(tmp_path)
    assert (found.identity, found.checkpoint, found.revision) == ("second", "ada/model", second)
    assert found.name == f"the last blessed model (commit {second[:8]} of ada/model)"


@pytest.mark.slow
def test_uploads_during_training_do_not_hide_it(hub, tmp_path, push):
    push(stage="trained", blessed=True, model_digest="first")
    for epoch in range(MOST_COMMITS):
        push(stage="training", epoch=epoch)
    assert find(tmp_path).identity == "first"


def test_a_bare_name_without_a_token_is_told_as_that(hub, tmp_path, monkeypatch):
    assert find(tmp_path, "model") is None
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"and no token.*--evaluate\.baseline null"):
        find(tmp_path, "model")


@pytest.mark.parametrize("wanted", ["/nonexistent/folder", "./nothing/there", "ada/nothing"])
def test_a_named_baseline_that_is_not_there_is_refused_before_any_work(hub, tmp_path, push, wanted):
    push(stage="trained")
    artifacts = Corpus(None), Blocks(None), Tokenizer(None), Checkpoint(None)
    step = Evaluate(*artifacts, PushedTo(str(tmp_path)), 0.15, EvaluateParams(baseline=wanted))
    with pytest.raises(HubError, match=rf"{wanted}.*--evaluate\.baseline null"):
        step.preflight()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    for fine in (None, "last_blessed", "ada/model", str(tmp_path)):
        dataclasses.replace(step, params=EvaluateParams(baseline=fine)).preflight()


def test_before_the_first_push_there_is_none(hub, tmp_path):
    assert find(tmp_path) is None


def test_a_hub_that_does_not_answer_is_no_hub_without_a_model(hub, tmp_path, push):
    push(stage="trained", blessed=True, model_digest="first")
    hub.faults.add(Fault("/resolve/", status=403, times=99))
    with pytest.raises(HubError, match=r"model 'ada/model'.*--evaluate\.baseline null"):
        find(tmp_path)
