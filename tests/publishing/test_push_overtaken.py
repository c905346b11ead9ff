"""A model that was overtaken between its evaluation and its push: compared again, by every place and under the lock."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from components.contract import manifest
from components.contract.artifacts import Evaluation, Pushed
from components.contract.push_record import PushedTo, model_digest
from components.contract.reports import PushReport
from components.evaluation import baseline_answers
from components.publishing import serving_directory
from components.publishing.params import PushParams
from components.push import Push
from foundation.errors import ModelError
from runners.local import LocalRunner
from tests.loopback_hub.fixtures import running_hub  # noqa: F401 (a fixture)
from tests.publishing.rivals import Rivals


@pytest.fixture(scope="module")
def rivals(tmp_path_factory: pytest.TempPathFactory) -> Rivals:
    return Rivals(tmp_path_factory.mktemp("rivals"))


@pytest.fixture(scope="module")
def first(rivals: Rivals, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluation]:
    """Each model's evaluation while no other was pushed."""
    nowhere = PushedTo(str(rivals.directory / "nowhere"))
    out = tmp_path_factory.mktemp("evaluations")
    return {name: rivals.evaluated(name, nowhere, out / name) for name in rivals.models}


def params(tmp_path: Path, **more: Any) -> PushParams:
    return PushParams(**{"serving_dir": str(tmp_path / "serving"), **more})


def run(push: Push, out: Path) -> PushReport:
    out.mkdir(parents=True)
    push.run(out)
    manifest.write(out, {"type": "Pushed"})
    return Pushed(out).report


def served(tmp_path: Path) -> dict[str, bool]:
    """By version, whether it is noted as blessed; everything in the base path is a version or the lock."""
    base = tmp_path / "serving/fill_mask"
    names = sorted(set(os.listdir(base)) - {serving_directory.LOCK_NAME})
    records = {name: serving_directory.read_record(base / name) for name in names}
    return {name: bool(record and record["blessed"]) for name, record in records.items()}


def test_a_model_overtaken_by_a_better_one_is_not_the_next_version(rivals, first, tmp_path, capsys):
    run(rivals.push("best", first["best"], params(tmp_path)), tmp_path / "best")
    with pytest.raises(ModelError, match=r"must be better than the last blessed one.*another one now") as told:
        run(rivals.push("good", first["good"], params(tmp_path)), tmp_path / "good")
    assert "% above that of the last blessed model (version 1 in fill_mask)" in told.value.received
    assert "--push.allow_unblessed true" in str(told.value)
    assert "comparing again, with the last blessed model (version 1 in fill_mask)" in capsys.readouterr().err
    assert served(tmp_path) == {"1": True}
    assert not (tmp_path / "good/pushed.json").exists()


def test_a_model_overtaken_by_a_worse_one_is_pushed_and_the_finding_is_the_evaluations_own(rivals, first, tmp_path):
    run(rivals.push("good", first["good"], params(tmp_path)), tmp_path / "good")
    pushed = run(rivals.push("best", first["best"], params(tmp_path)), tmp_path / "best")
    assert served(tmp_path) == {"1": True, "2": True}
    assert pushed.blessed
    assert pushed.compared_again in pushed.summary
    (tmp_path / "serving/fill_mask/2").rename(tmp_path / "second")
    anew = rivals.evaluated("best", params(tmp_path).pushed_to, tmp_path / "evaluation")
    [check] = [check for check in anew.blessing.checks if "baseline" in check.name]
    assert pushed.compared_again == check.sentence


def test_a_model_whose_rival_is_removed_while_it_is_asked_is_held_against_what_is_there(
    rivals, first, tmp_path, monkeypatch
):
    """As where another push keeps a few versions only."""
    run(rivals.push("good", first["good"], params(tmp_path)), tmp_path / "good")
    load_baseline = baseline_answers.load_baseline

    def load_removed(baseline):
        (tmp_path / "serving/fill_mask/1").rename(tmp_path / "gone")
        return load_baseline(baseline)

    monkeypatch.setattr(baseline_answers, "load_baseline", load_removed)
    with pytest.raises(ModelError, match=r"removed meanwhile.*run the same command again"):
        rivals.evaluated("best", params(tmp_path).pushed_to, tmp_path / "evaluation")
    (tmp_path / "gone").rename(tmp_path / "serving/fill_mask/1")
    pushed = run(rivals.push("best", first["best"], params(tmp_path)), tmp_path / "best")
    assert pushed.blessed
    assert pushed.compared_again is None
    assert served(tmp_path) == {"1": True}


def test_a_model_that_nothing_overtook_is_not_compared_again(rivals, first, tmp_path, capsys):
    run(rivals.push("good", first["good"], params(tmp_path)), tmp_path / "good")
    evaluation = rivals.held_against(first["best"], tmp_path / "evaluation", model_digest(rivals.checkpoints["good"]))
    push = rivals.push("best", evaluation, params(tmp_path))
    for out, name in ((tmp_path / "best", "fill_mask version 2"), (tmp_path / "again", "already version 2")):
        pushed = run(push, out)
        assert pushed.summary.startswith(name)
        assert pushed.compared_again is None
    assert served(tmp_path) == {"1": True, "2": True}
    assert capsys.readouterr().err == ""


def test_a_model_that_lost_its_blessing_can_be_pushed_on_purpose_and_is_marked(rivals, first, tmp_path):
    run(rivals.push("best", first["best"], params(tmp_path)), tmp_path / "best")
    pushed = run(rivals.push("good", first["good"], params(tmp_path, allow_unblessed=True)), tmp_path / "good")
    assert served(tmp_path) == {"1": True, "2": False}
    assert pushed.blessed is False
    assert "% above that of the last blessed model (version 1 in fill_mask)" in pushed.summary


@pytest.mark.parametrize("must_beat", [None, "me/another"])
def test_a_model_that_did_not_have_to_beat_the_last_blessed_one_is_not_compared(rivals, first, tmp_path, must_beat):
    run(rivals.push("best", first["best"], params(tmp_path)), tmp_path / "best")
    evaluation = rivals.held_against(first["good"], tmp_path / "evaluation", "c0ffee", must_beat=must_beat)
    assert run(rivals.push("good", evaluation, params(tmp_path)), tmp_path / "good").compared_again is None
    assert served(tmp_path) == {"1": True, "2": True}


def test_an_unblessed_model_that_came_in_between_overtakes_nothing(rivals, first, tmp_path):
    unblessed = rivals.held_against(first["best"], tmp_path / "evaluation", None, blessed=False)
    run(rivals.push("best", unblessed, params(tmp_path, allow_unblessed=True)), tmp_path / "best")
    assert run(rivals.push("good", first["good"], params(tmp_path)), tmp_path / "good").compared_again is None
    assert served(tmp_path) == {"1": False, "2": True}


def test_after_a_rollback_what_is_left_is_what_counts(rivals, first, tmp_path):
    """The model was held against version 2, which somebody removed before the push."""
    removed = rivals.held_against(first["best"], tmp_path / "evaluation", "the digest of the version that was removed")
    pushed = run(rivals.push("best", removed, params(tmp_path)), tmp_path / "best")
    assert "is gone" in pushed.compared_again
    worse = rivals.held_against(first["good"], tmp_path / "another", "the digest of the version that was removed")
    with pytest.raises(ModelError, match="version 1 in fill_mask"):
        run(rivals.push("good", worse, params(tmp_path)), tmp_path / "good")
    assert served(tmp_path) == {"1": True}


def test_a_dry_run_says_so_too_and_writes_nothing(rivals, first, tmp_path):
    run(rivals.push("best", first["best"], params(tmp_path)), tmp_path / "best")
    before = sorted((tmp_path / "serving").rglob("*"))
    with pytest.raises(ModelError, match="version 1 in fill_mask"):
        run(rivals.push("good", first["good"], params(tmp_path, dry_run=True)), tmp_path / "good")
    run(rivals.push("best", first["best"], params(tmp_path, dry_run=True)), tmp_path / "again")
    assert sorted((tmp_path / "serving").rglob("*")) == before


OTHER_PROCESS = """
import os, sys
from pathlib import Path
from components.publishing.serving_directory import locked
base, ready = map(Path, sys.argv[1:])
with locked(base):
    print("locked", flush=True)
    sys.stdin.readline()
    os.rename(ready, base / "1")
"""


@pytest.mark.parametrize(
    ("mine", "theirs", "versions"),
    [("good", "best", ["1"]), pytest.param("best", "good", ["1", "2"], marks=pytest.mark.slow)],
)
def test_of_two_processes_that_push_at_once_the_second_is_compared_with_the_first(
    rivals, first, tmp_path, mine, theirs, versions
):
    """The other process holds the lock while this one finds nothing pushed; then its version appears."""
    run(rivals.push(theirs, first[theirs], params(tmp_path / "other")), tmp_path / "theirs")
    base = tmp_path / "serving/fill_mask"
    base.mkdir(parents=True)
    command = [sys.executable, "-c", OTHER_PROCESS, base, tmp_path / "other/serving/fill_mask/1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        outcome: list[object] = []

        def push() -> None:
            try:
                outcome.append(run(rivals.push(mine, first[mine], params(tmp_path)), tmp_path / "mine"))
            except ModelError as error:
                outcome.append(error)

        pusher = threading.Thread(target=push)
        pusher.start()
        pusher.join(1)
        assert pusher.is_alive()  # it waits for the lock
        other.stdin.write("\n")
        other.stdin.close()
        pusher.join(60)
    assert list(served(tmp_path)) == versions
    assert isinstance(outcome[0], ModelError) is (versions == ["1"])


@pytest.mark.parametrize(
    ("mine", "theirs", "status"),
    [("good", "best", "failed"), pytest.param("best", "good", "succeeded", marks=pytest.mark.slow)],
)
def test_the_same_command_again_evaluates_against_the_model_that_came_in_between(
    rivals, first, tmp_path, mine, theirs, status
):
    where = params(tmp_path)

    def pipeline(step: Any, meanwhile: Any = lambda: None) -> None:
        evaluation = step(rivals.evaluate(mine, where.pushed_to))
        if evaluation.path is not None:
            meanwhile()
        step(rivals.push(mine, evaluation, where))

    def execute(meanwhile: Any = lambda: None) -> dict[str, Any]:
        with contextlib.suppress(ModelError):
            LocalRunner(tmp_path / "root", show=lambda line: None).execute(lambda step: pipeline(step, meanwhile), {})
        return json.loads((tmp_path / "root/runs/latest/run.json").read_text())

    other = rivals.push(theirs, first[theirs], where)
    once = execute(lambda: run(other, tmp_path / "theirs"))
    again = execute()
    assert [once["status"], again["status"]] == [status, status]
    assert [step["status"] for step in again["steps"]] == ["ran", "failed" if status == "failed" else "ran"]
    assert once["steps"][0]["key"] != again["steps"][0]["key"]
    assert list(served(tmp_path)) == (["1"] if status == "failed" else ["1", "2"])


def test_weights_equal_to_those_served_are_no_new_version(rivals, first, tmp_path):
    run(rivals.push("good", first["good"], params(tmp_path)), tmp_path / "good")
    anew = rivals.export("good", tmp_path / "model")  # another file by its bytes, as every export is
    assert anew.digest != rivals.models["good"].digest
    push = rivals.push("good", first["good"], params(tmp_path), anew)
    out = tmp_path / "again"
    pushed = run(push, out)
    assert pushed.summary.startswith("already version 1")
    assert push.holds(Pushed(out))
    assert list(served(tmp_path)) == ["1"]
    manifest.write(anew.directory, {"type": "ServingModel", "component": "export", "params": {"top_k": 9}})
    changed = type(anew)(anew.directory)
    assert run(rivals.push("good", first["good"], params(tmp_path), changed), tmp_path / "changed").version == 2


def hub_params(tmp_path: Path) -> PushParams:
    return params(tmp_path, hub_model_id="ada/answers", license="mit")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mine", "theirs", "late"),
    [
        ("good", "best", False),
        ("best", "good", False),
        ("good", "best", True),
        ("best", "good", True),
    ],
)
def test_two_roots_that_push_to_one_repository(hub, rivals, first, tmp_path, monkeypatch, mine, theirs, late):
    """The other one pushes before this one does, or between this one's look at the Hub and its commit."""
    from transformers.utils import hub as of_transformers

    from tests.loopback_hub.handler import Handler

    monkeypatch.setattr(of_transformers, "_is_offline_mode", False)  # its own copy, made on import
    monkeypatch.setattr(of_transformers, "TRANSFORMERS_CACHE", str(tmp_path / "home/hub"))
    other = rivals.push(theirs, first[theirs], hub_params(tmp_path / "other"))
    push = rivals.push(mine, first[mine], hub_params(tmp_path))
    honest = Handler.preupload

    def meanwhile(self, **where):
        monkeypatch.setattr(Handler, "preupload", honest)
        run(other, tmp_path / "theirs")
        return honest(self, **where)

    if late:
        monkeypatch.setattr(Handler, "preupload", meanwhile)
    else:
        run(other, tmp_path / "theirs")
    if mine == "good":
        with pytest.raises(ModelError, match=r"the last blessed model \(commit [0-9a-f]{8} of ada/answers\)"):
            run(push, tmp_path / "mine")
        assert not (tmp_path / "serving/fill_mask/1").exists()
        assert not list(tmp_path.glob("serving/fill_mask/.pushing-*"))
        newest = other
    else:
        pushed = run(push, tmp_path / "mine")
        assert "of ada/answers" in pushed.compared_again
        assert list(served(tmp_path)) == ["1"]
        newest = push
    seal = json.loads(hub.repositories["ada/answers"].read("push.json"))
    assert seal["model_digest"] == model_digest(newest.checkpoint)
    subjects = [subject for _, subject in hub.repositories["ada/answers"].log()]
    assert subjects.count("End of training") == (1 if newest is other else 2)
