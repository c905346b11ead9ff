"""The local runner: caching by content, atomic completion, plans, records."""

import dataclasses
import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from components import manifest
from components.artifacts import Artifact, Corpus
from components.component import Component
from components.errors import ConfigError, DamagedArtifact, DataError, PipelineError
from components.hub import HubUnreachable
from runners.local import LocalRunner


@dataclasses.dataclass(frozen=True)
class WordParams:
    word: str = "sky"


class Text(Artifact):
    @property
    def text(self) -> str:
        return (self.directory / "text").read_text()

    @property
    def summary(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Write(Component[Text]):
    params: WordParams = WordParams()
    name = "write"
    version = "1"
    output = Text

    def run(self, out: Path) -> None:
        (out / "text").write_text(self.params.word)


@dataclasses.dataclass(frozen=True)
class FirstLetter(Component[Text]):
    text: Text
    params: WordParams = WordParams()
    name = "first"
    version = "1"
    output = Text

    def run(self, out: Path) -> None:
        (out / "text").write_text(self.text.text[0])


@dataclasses.dataclass(frozen=True)
class Double(Component[Text]):
    text: Text
    name = "double"
    version = "1"
    output = Text

    def run(self, out: Path) -> None:
        (out / "text").write_text(self.text.text * 2)


def graph(word: str):
    def run_all(run):
        text = run(Write(WordParams(word)))
        first = run(FirstLetter(text))
        return run(Double(first))

    return run_all


def statuses(record):
    return [step["status"] for step in record.content["steps"]]


def quiet(root, **options):
    return LocalRunner(root, show=lambda line: None, **options)


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
        assert (Path(step["artifact"]) / "manifest.json").is_file()
    assert Path(run["steps"][-1]["artifact"], "text").read_text() == "ss"


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


@dataclasses.dataclass(frozen=True)
class Failing(Component[Text]):
    error: str = "data"
    name = "failing"
    version = "1"
    output = Text

    def run(self, out: Path) -> None:
        (out / "half").write_text("written")
        if self.error == "data":
            raise DataError("a rule holds", received="nothing", remedy="give something")
        if self.error == "disk":
            raise OSError(28, "No space left on device")
        if self.error == "interrupt":
            raise KeyboardInterrupt
        raise ZeroDivisionError("a fault")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("data", "a rule holds. Received: nothing"),
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
    assert json.loads((tmp_path / "runs" / "latest" / "run.json").read_text())["status"] == "interrupted"
    assert not list((tmp_path / "artifacts").rglob("half"))


def test_debris_and_damage_are_not_taken_for_artifacts(tmp_path):
    record = quiet(tmp_path).execute(graph("sky"), {})
    first, second, third = (Path(step["artifact"]) for step in record.content["steps"])
    (first / "text").unlink()
    (second / "manifest.json").write_text("{")
    (third.parent / (third.name + ".partial")).mkdir()
    record = quiet(tmp_path).execute(graph("sky"), {})
    assert statuses(record) == ["ran", "ran", "cached"]
    assert (first / "text").read_text() == "sky"


def flip_a_bit(path):
    """Damages a file without changing its size or time, as a disk does."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@dataclasses.dataclass(frozen=True)
class Reporting(Write):
    """Its report is JSON, which a cached run reads."""

    def run(self, out: Path) -> None:
        super().run(out)
        manifest.write_json(out / "report.json", {"summary": self.params.word})

    output = Corpus


def test_a_damaged_input_is_noticed_before_its_use_and_made_anew(tmp_path):
    first = quiet(tmp_path).execute(graph("sky"), {})
    damaged = Path(first.content["steps"][0]["artifact"])
    flip_a_bit(damaged / "text")
    shown = []
    force = frozenset({"first"})
    record = LocalRunner(tmp_path, show=shown.append, force=force).execute(graph("sky"), {})
    assert statuses(record) == ["ran", "ran", "cached"]
    assert Path(record.content["steps"][2]["artifact"], "text").read_text() == "ss"
    assert (damaged / "text").read_text() == "sky"
    # What was damaged is named, and there to be looked at.
    aside = damaged.with_name(damaged.name + ".damaged")
    assert (aside / "text").read_text() != "sky"
    assert [line.split()[:2] for line in shown] == [
        ["write", "cached"],
        ["write", "damaged:"],
        ["write", "ran"],
        ["first", "ran"],
        ["double", "cached"],
    ]
    assert str(damaged / "text") in shown[1]
    assert aside.name in shown[1]


@pytest.mark.parametrize("name", ["report.json", "manifest.json"])
def test_a_damaged_report_or_manifest_of_a_cached_step_is_noticed(tmp_path, name):
    def run_one(run):
        return run(Reporting())

    artifact = Path(quiet(tmp_path).execute(run_one, {}).content["steps"][0]["artifact"])
    for position in range(0, (artifact / name).stat().st_size, 7):
        content = bytearray((artifact / name).read_bytes())
        own_name = content.find(b"manifest_digest")
        if own_name <= position < own_name + 15 or not content[position : position + 1].strip():
            continue  # another name for the manifest's own digest, or other white space, harms nobody
        content[position] ^= 1
        (artifact / name).write_bytes(content)
        [step] = quiet(tmp_path).execute(run_one, {}).content["steps"]
        assert (step["status"], step["summary"]) == ("ran", "sky"), position


def test_a_disk_that_keeps_nothing_ends_the_run(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Losing(Double):
        name = "losing"

        def run(self, out: Path) -> None:
            flip_a_bit(self.text.directory / "text")
            raise DamagedArtifact(self.text.directory, "another word")

    with pytest.raises(DamagedArtifact, match=r"remove .* and run the pipeline again"):
        quiet(tmp_path).execute(lambda run: run(Losing(run(Write()))), {})
    assert json.loads((tmp_path / "runs/latest/run.json").read_text())["status"] == "failed"


def test_an_artifact_is_on_the_disk_before_it_counts_as_finished(tmp_path, monkeypatch):
    """In order: every file, the manifest, the directory, the rename, and only then what the step went on from."""
    happened = []
    flush, rename, remove = os.fsync, os.rename, shutil.rmtree

    def flushing(descriptor):
        happened.append(("flushed", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        flush(descriptor)

    def renaming(source, target):
        happened.append(("renamed", Path(source).name))
        rename(source, target)

    def removing(path, *arguments, **options):
        happened.append(("removed", Path(path).name))
        remove(path, *arguments, **options)

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(os, "rename", renaming)
    monkeypatch.setattr(shutil, "rmtree", removing)

    @dataclasses.dataclass(frozen=True)
    class Training(Counting):
        scratch = "kept"

        def run(self, out: Path) -> None:
            (out / "kept").mkdir()
            (out / "kept" / "checkpoint").write_text("large")
            (out / "deep").mkdir()
            (out / "deep" / "weights").write_text("1 2 3")
            super().run(out)

    record = quiet(tmp_path).execute(lambda run: run(Training(0)), {})
    artifact = Path(record.content["steps"][0]["artifact"])
    partial = f"{artifact.name}.partial"
    order = [
        ("flushed", "weights"),
        ("flushed", "manifest.json.partial"),
        ("flushed", partial),
        ("renamed", partial),
        ("flushed", "counting"),
        ("removed", "kept"),
    ]
    places = [len(happened) - 1 - happened[::-1].index(what) for what in order]
    assert places == sorted(places), happened
    assert {path.name for path in artifact.iterdir()} == {"count", "word", "text", "deep", "manifest.json"}
    assert "kept/checkpoint" not in json.loads((artifact / "manifest.json").read_text())["files"]

    # Killed before the last of it: the artifact is finished, and the next run tidies up.
    (artifact / "kept").mkdir()
    assert statuses(quiet(tmp_path).execute(lambda run: run(Training(0)), {})) == ["cached"]
    assert not (artifact / "kept").exists()


def test_an_artifact_that_is_replaced_goes_when_the_new_one_is_there(tmp_path, monkeypatch):
    record = quiet(tmp_path).execute(graph("sky"), {})
    artifact = Path(record.content["steps"][1]["artifact"])
    seen = []
    remove = shutil.rmtree

    def removing(path, *arguments, **options):
        seen.append((Path(path).name, (artifact / "manifest.json").is_file()))
        remove(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", removing)
    quiet(tmp_path, force=frozenset({"first"})).execute(graph("sky"), {})
    assert seen == [(f"{artifact.name}.replaced", True)]


def test_an_interrupt_says_where_the_same_command_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt, match=r"in failing; .* the same command starts failing again"):
        quiet(tmp_path).execute(lambda run: run(Failing("interrupt")), {})
    with pytest.raises(KeyboardInterrupt, match="the same command goes on with counting from 3 with sky"):
        quiet(tmp_path).execute(lambda run: run(Stoppable(3)), {})
    run = json.loads((tmp_path / "runs" / "latest" / "run.json").read_text())
    assert run["status"] == "interrupted"
    assert "goes on with counting from 3" in run["error"]


@pytest.mark.parametrize("full", [False, True])
def test_a_record_or_report_that_cannot_be_written_hides_nothing(tmp_path, monkeypatch, full):
    """As on a disk that fills up while a step runs; the run's own folder takes nothing either."""
    shown = []

    def refuse(path, value):
        if path.name == "run.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_json(path, value)

    write_json = manifest.write_json

    @dataclasses.dataclass(frozen=True)
    class Filling(Failing):
        def run(self, out: Path) -> None:
            monkeypatch.setattr(manifest, "write_json", refuse)
            (tmp_path / "runs/latest/traceback.txt").mkdir()
            (tmp_path / "runs/latest/report_traceback.txt").mkdir()
            super().run(out)

    message = "room for what is written" if full else "a rule holds"
    with pytest.raises(PipelineError, match=message) as raised:
        LocalRunner(tmp_path, show=shown.append).execute(lambda run: run(Filling("disk" if full else "data")), {})
    assert raised.value.exit_code == 1
    assert any("run.json can't be written: No space left" in line for line in shown)


def test_force_runs_a_cached_step_again_and_replaces_it(tmp_path):
    quiet(tmp_path).execute(graph("sky"), {})
    record = quiet(tmp_path, force=frozenset({"first"})).execute(graph("sky"), {})
    assert statuses(record) == ["cached", "ran", "cached"]


def test_until_stops_after_the_step(tmp_path):
    record = quiet(tmp_path, until="first").execute(graph("sky"), {})
    assert [step["name"] for step in record.content["steps"]] == ["write", "first"]
    assert record.content["status"] == "succeeded"


def test_plan_runs_nothing_and_tells_what_would_run(tmp_path):
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
            raise ConfigError("a name exists", received="none", remedy="name one")

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
    content = json.loads(Path(record.content["steps"][1]["artifact"], "manifest.json").read_text())
    source = json.loads(Path(record.content["steps"][0]["artifact"], "manifest.json").read_text())
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
            raise HubUnreachable("the Hub is reached", received="no connection", remedy="connect")
        return HUB["write"]


@dataclasses.dataclass(frozen=True)
class DoubleFromHub(Double):
    def sources(self):
        if HUB is None:
            raise HubUnreachable("the Hub is reached", received="no connection", remedy="connect")
        return HUB["double"]


def from_hub(word: str):
    return lambda run: run(DoubleFromHub(run(WriteFromHub(WordParams(word)))))


def test_out_of_reach_of_the_hub_what_an_earlier_run_found_counts_and_is_told(tmp_path, monkeypatch):
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


@dataclasses.dataclass(frozen=True)
class Counting(Component[Text]):
    """Counts in a file, which it goes on from."""

    stop_at: int
    params: WordParams = WordParams()
    name = "counting"
    version = "1"
    output = Text

    def resumes(self, partial: Path) -> str | None:
        counted = partial / "count"
        return f"{counted.read_text()} with {(partial / 'word').read_text()}" if counted.is_file() else None

    def run(self, out: Path) -> None:
        counted = int((out / "count").read_text()) if (out / "count").is_file() else 0
        (out / "word").write_text(self.params.word)
        for number in range(counted + 1, 11):
            (out / "count").write_text(str(number))
            if number == self.stop_at:
                raise KeyboardInterrupt
        (out / "text").write_text(f"from {counted}")


@dataclasses.dataclass(frozen=True)
class Stoppable(Counting):
    """Its stop is no part of its key."""

    stop_at: int = dataclasses.field(default=0, metadata={"key": False})


def test_a_step_goes_on_from_what_it_left(tmp_path):
    told = []

    def execute(step, **options):
        LocalRunner(tmp_path, show=told.append, **options).execute(lambda run: run(step), {})
        return next(path for path in (tmp_path / "artifacts/counting").glob("*/text")).read_text()

    with pytest.raises(KeyboardInterrupt):
        execute(Stoppable(3))
    with pytest.raises(KeyboardInterrupt):
        execute(Stoppable(3, WordParams("moon")))
    assert "starts anew: other settings or inputs" in told[-1]
    assert "which came to 3 with sky" in told[-1]
    with pytest.raises(KeyboardInterrupt):
        execute(Stoppable(5))
    assert told[-1].split(maxsplit=1) == ["counting", "goes on from 3 with sky"]
    assert execute(Stoppable(0)) == "from 5"
    left = sorted(path.name for path in (tmp_path / "artifacts/counting").glob("*.partial"))
    assert len(left) == 1  # the moon's

    told.clear()
    with pytest.raises(KeyboardInterrupt):
        execute(Stoppable(4), force=frozenset({"counting"}))
    assert told == []
    assert execute(Stoppable(0), force=frozenset({"counting"})) == "from 0"
