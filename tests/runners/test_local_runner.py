"""The local runner: caching by content, atomic completion, plans, records."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from components.contract import manifest
from components.contract.artifacts import Corpus
from components.contract.workers import ThisProcess, Workers
from components.hub.reading import HubUnreachable
from foundation.errors import ConfigError, DataError, PipelineError
from runners.local import LocalRunner
from tests.runners.small_steps import (
    Double,
    Failing,
    FirstLetter,
    Stoppable,
    Text,
    WordParams,
    Write,
    graph,
    quiet,
    statuses,
)


def test_second_run_is_cached_and_record_says_so(tmp_path):
    first = quiet(tmp_path).execute(graph("sky"), {"write": {"word": "sky"}})
    second = quiet(tmp_path).execute(graph("sky"), {"write": {"word": "sky"}})
    assert statuses(first) == ["ran", "ran", "ran"]
    assert statuses(second) == ["cached", "cached", "cached"]
    run = json.loads((tmp_path / "runs" / "latest" / "run.json").read_text())
    assert run["id"] == second.id
    assert run["status"] == "succeeded"
    assert run["config"] == {"write": {"word": "sky"}}
    assert run["library_versions"]["tensorflow"]
    for step in run["steps"]:
        assert set(step) >= {"name", "status", "seconds", "key", "artifact"}
        assert (tmp_path / step["artifact"] / "manifest.json").is_file()
    assert (tmp_path / run["steps"][-1]["artifact"] / "text").read_text() == "ss"


def test_a_root_that_was_moved_has_everything_cached_and_no_word_of_its_old_place(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    quiet(before).execute(graph("sky"), {})
    before.rename(after)
    record = quiet(after).execute(graph("sky"), {})
    assert statuses(record) == ["cached", "cached", "cached"]
    assert record.artifacts["first"].parent == after / "artifacts/first"
    written = [path for path in after.rglob("*") if path.suffix in (".json", ".html") and path.is_file()]
    assert len(written) > 6
    assert not [path for path in written if str(tmp_path) in path.read_text()]


@dataclasses.dataclass(frozen=True)
class Long(FirstLetter):
    name = "long"
    takes_long = True


@dataclasses.dataclass(frozen=True)
class Picky(Double):
    """Refuses before it runs, as soon as it can see its text, whatever runs between."""

    between: Text | None = None
    name = "picky"

    def preflight(self) -> None:
        if self.text.path is not None:
            raise DataError("a text must be another", received=self.text.text, remedy="give another")


def test_later_steps_are_asked_again_before_one_that_takes_long(tmp_path):
    def run_all(run):
        text = run(Write(WordParams("sky")))
        return run(Picky(text, run(Long(text))))

    for force in (frozenset(), frozenset({"write"})):
        with pytest.raises(DataError, match="must be another"):
            quiet(tmp_path, force=force).execute(run_all, {})
        record = json.loads((tmp_path / "runs" / "latest" / "run.json").read_text())
        assert [step["name"] for step in record["steps"]] == ["write"]
    assert not (tmp_path / "artifacts" / "long").exists()


def test_equal_content_upstream_cuts_the_work_off_early(tmp_path):
    quiet(tmp_path).execute(graph("sky"), {})
    record = quiet(tmp_path).execute(graph("sun"), {})
    # The first letter is the same, so what follows from it needs no work.
    assert statuses(record) == ["ran", "ran", "cached"]


def test_params_sources_and_version_change_the_key():
    @dataclasses.dataclass(frozen=True)
    class Newer(Write):
        version = "2"

    keys = {
        Write(WordParams("a")).key({}),
        Write(WordParams("b")).key({}),
        Write(WordParams("a")).key({"file": "0"}),
        Newer(WordParams("a")).key({}),
    }
    assert len(keys) == 4
    assert Write(WordParams("a")).key({}) == Write(WordParams("a")).key({})


def test_what_has_no_canonical_form_is_an_error():
    with pytest.raises(TypeError, match="no canonical form"):
        Write(WordParams(word={1, 2})).key({})
    with pytest.raises(ValueError, match="JSON"):
        Write(WordParams(word=float("nan"))).key({})


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("data", "a rule must hold. Received: nothing"),
        ("disk", "No space left on device.* bytes are free"),
        ("fault", "ZeroDivisionError: a fault"),
    ],
)
def test_a_failed_step_leaves_a_record_and_no_artifact(tmp_path, error, message):
    with pytest.raises(PipelineError, match=message) as raised:
        quiet(tmp_path).execute(lambda run: run(Failing(error)), {})
    assert raised.value.exit_code == 1
    run = json.loads((tmp_path / "runs" / "latest" / "run.json").read_text())
    assert (run["status"], run["steps"][0]["status"]) == ("failed", "failed")
    assert re.search(message, run["error"])
    assert not [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert (tmp_path / "runs" / "latest" / "traceback.txt").exists() == (error != "data")


def test_interrupt_is_recorded_and_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        quiet(tmp_path).execute(lambda run: run(Failing("interrupt")), {})
    run = json.loads((tmp_path / "runs" / "latest" / "run.json").read_text())
    assert (run["status"], run["steps"][0]["status"]) == ("interrupted", "interrupted")
    assert not list((tmp_path / "artifacts").rglob("half"))


def test_an_interrupt_says_where_the_same_command_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt, match=r"in failing; .* the same command starts failing again"):
        quiet(tmp_path).execute(lambda run: run(Failing("interrupt")), {})
    with pytest.raises(KeyboardInterrupt, match="the same command goes on with counting from 3 with sky"):
        quiet(tmp_path).execute(lambda run: run(Stoppable(3)), {})
    run = json.loads((tmp_path / "runs" / "latest" / "run.json").read_text())
    assert run["status"] == "interrupted"
    assert "goes on with counting from 3" in run["error"]


def test_force_runs_a_cached_step_again_and_replaces_it(tmp_path):
    quiet(tmp_path).execute(graph("sky"), {})
    record = quiet(tmp_path, force=frozenset({"first"})).execute(graph("sky"), {})
    assert statuses(record) == ["cached", "ran", "cached"]


def test_until_stops_after_the_step(tmp_path):
    record = quiet(tmp_path, until="first").execute(graph("sky"), {})
    assert [step["name"] for step in record.content["steps"]] == ["write", "first"]
    assert record.content["status"] == "succeeded"


def test_plan_runs_nothing_and_says_what_would_run(tmp_path):
    runner = quiet(tmp_path)
    assert [status for _, status in runner.plan(graph("sky"))] == ["run", "run", "run"]
    assert not list(tmp_path.iterdir())
    runner.execute(graph("sky"), {})
    assert [status for _, status in quiet(tmp_path).plan(graph("sky"))] == ["cached"] * 3
    assert [status for _, status in quiet(tmp_path).plan(graph("moon"))] == ["run"] * 3


def test_preflight_of_a_late_step_comes_before_any_work(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Refusing(Double):
        def preflight(self) -> None:
            raise ConfigError("a name must exist", received="none", remedy="name one")

    with pytest.raises(ConfigError):
        quiet(tmp_path).execute(lambda run: run(Refusing(run(Write()))), {})
    assert not (tmp_path / "artifacts").exists()


def test_a_step_whose_effect_is_gone_runs_again(tmp_path):
    effect = tmp_path / "effect"

    @dataclasses.dataclass(frozen=True)
    class Push(Write):
        def holds(self, artifact: Text) -> bool:
            return effect.exists()

        def run(self, out: Path) -> None:
            super().run(out)
            effect.write_text("there")

    root = tmp_path / "root"
    assert statuses(quiet(root).execute(lambda run: run(Push()), {})) == ["ran"]
    assert statuses(quiet(root).execute(lambda run: run(Push()), {})) == ["cached"]
    effect.unlink()
    assert statuses(quiet(root).execute(lambda run: run(Push()), {})) == ["ran"]


def test_a_root_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="--root"):
        quiet(tmp_path / "file").execute(graph("sky"), {})


def test_manifest_describes_the_artifact(tmp_path):
    record = quiet(tmp_path).execute(graph("sky"), {})
    content = json.loads((record.artifacts["first"] / "manifest.json").read_text())
    source = json.loads((record.artifacts["write"] / "manifest.json").read_text())
    assert content["type"] == "Text"
    assert content["component"] == "first"
    assert content["params"] == {"word": "sky"}
    assert content["inputs"] == {"text": source["digest"]}
    assert content["files"]["text"] == {
        "bytes": 1,
        "sha256": manifest.digest_of_file(tmp_path / "runs/../artifacts/first" / content["key"][:16] / "text"),
    }
    assert content["created"].endswith("+00:00")


def test_an_artifact_that_has_yet_to_be_made_says_so():
    with pytest.raises(ValueError, match="doesn't exist yet"):
        _ = Corpus(None).digest


HUB = {"write": {"model": "commit 1"}, "double": {"text": "commit a"}}


@dataclasses.dataclass(frozen=True)
class WriteFromHub(Write):
    def sources(self):
        if HUB is None:
            raise HubUnreachable("the Hub must be within reach", received="no connection", remedy="connect")
        return HUB["write"]


@dataclasses.dataclass(frozen=True)
class DoubleFromHub(Double):
    def sources(self):
        if HUB is None:
            raise HubUnreachable("the Hub must be within reach", received="no connection", remedy="connect")
        return HUB["double"]


def from_hub(word: str):
    return lambda run: run(DoubleFromHub(run(WriteFromHub(WordParams(word)))))


def test_out_of_reach_of_the_hub_what_an_earlier_run_found_counts_and_is_said(tmp_path, monkeypatch):
    quiet(tmp_path).execute(from_hub("sky"), {})
    monkeypatch.setitem(HUB, "write", {"model": "commit 2"})
    monkeypatch.setitem(HUB, "double", {"text": "commit b"})
    quiet(tmp_path).execute(from_hub("sky"), {})
    shown = []
    monkeypatch.setitem(globals(), "HUB", None)
    record = LocalRunner(tmp_path, show=shown.append).execute(from_hub("sky"), {})
    assert statuses(record) == ["cached", "cached"]
    newest = quiet(tmp_path).store.earlier_sources(WriteFromHub(WordParams("sky")))
    assert newest == {"model": "commit 2"}
    assert [line.split()[0] for line in shown if "unchecked" in line] == ["write", "double"]
    with pytest.raises(HubUnreachable):
        quiet(tmp_path).execute(from_hub("sun"), {})


def test_a_step_goes_on_from_what_it_left(tmp_path):
    shown = []

    def execute(step, **options):
        LocalRunner(tmp_path, show=shown.append, **options).execute(lambda run: run(step), {})
        return next(path for path in (tmp_path / "artifacts/counting").glob("*/text")).read_text()

    with pytest.raises(KeyboardInterrupt):
        execute(Stoppable(3))
    with pytest.raises(KeyboardInterrupt):
        execute(Stoppable(3, WordParams("moon")))
    assert "starts anew: other settings or inputs" in shown[-1]
    assert "which came to 3 with sky" in shown[-1]
    shown.clear()
    with pytest.raises(KeyboardInterrupt):
        execute(Stoppable(3, WordParams("sun")))
    assert [line.split("which came to ")[1][:33] for line in shown] == ["3 with moon, and than in 1 more (r"[:33]]
    with pytest.raises(KeyboardInterrupt):
        execute(Stoppable(5))
    assert shown[-1].split(maxsplit=1) == ["counting", "goes on from 3 with sky"]
    assert execute(Stoppable(0)) == "from 5"
    left = sorted(path.name for path in (tmp_path / "artifacts/counting").glob("*.partial"))
    assert len(left) == 2  # the moon's and the sun's

    shown.clear()
    with pytest.raises(KeyboardInterrupt):
        execute(Stoppable(4), force=frozenset({"counting"}))
    assert shown == []
    assert execute(Stoppable(0), force=frozenset({"counting"})) == "from 0"


@dataclasses.dataclass(frozen=True)
class Shared(FirstLetter):
    name = "shared"

    def run_with(self, out: Path, workers: Workers) -> None:
        self.run(out)


class Absent(ThisProcess):
    def require(self) -> None:
        raise ConfigError("a cluster must answer", received="silence", remedy="start it")


def test_workers_that_can_not_be_had_are_refused_before_any_work(tmp_path):
    def shared(run):
        return run(Shared(run(Write(WordParams("sky")))))

    with pytest.raises(ConfigError, match="a cluster must answer"):
        quiet(tmp_path, workers=Absent()).execute(shared, {})
    assert not list(tmp_path.glob("artifacts/*/*"))

    # Nobody asks for workers where none has anything to do.
    assert statuses(quiet(tmp_path, workers=Absent()).execute(graph("sky"), {})) == ["ran"] * 3
    quiet(tmp_path).execute(shared, {})
    assert statuses(quiet(tmp_path, workers=Absent()).execute(shared, {})) == ["cached", "cached"]
