"""Artifacts on disk: damage is noticed and mended, and what is reported as done is on the disk itself."""

import dataclasses
import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from components.contract import manifest
from components.contract.artifacts import Artifact
from foundation.errors import ArtifactError, DamagedArtifact, PipelineError
from runners.local import LocalRunner
from tests.runners.small_steps import (
    Counting,
    Double,
    Failing,
    WordParams,
    Write,
    graph,
    quiet,
    statuses,
)


def test_debris_and_damage_are_not_taken_for_artifacts(tmp_path):
    record = quiet(tmp_path).execute(graph("sky"), {})
    first, second, third = record.artifacts.values()
    (first / "text").unlink()
    (second / "manifest.json").write_text("{")
    (third.parent / (third.name + ".partial")).mkdir()
    record = quiet(tmp_path).execute(graph("sky"), {})
    assert statuses(record) == ["ran", "ran", "cached"]
    assert (first / "text").read_text() == "sky"


@dataclasses.dataclass(frozen=True)
class Timed(Write):
    varying = ("seconds", "logs")

    def run(self, out):
        super().run(out)
        (out / "logs").mkdir()
        for name in ("seconds", "logs/events"):
            (out / name).write_bytes(os.urandom(8))


def test_what_varies_without_a_meaning_is_verified_but_makes_no_other_artifact(tmp_path):
    def timed(run):
        return run(Double(run(Timed())))

    first = quiet(tmp_path).execute(timed, {})
    directory = first.artifacts["write"]
    seconds = (directory / "seconds").read_bytes()
    assert statuses(quiet(tmp_path, force=frozenset({"write"})).execute(timed, {})) == ["ran", "cached"]
    assert (directory / "seconds").read_bytes() != seconds
    (directory / "logs/events").write_bytes(b"damaged!")
    with pytest.raises(DamagedArtifact, match=r"logs/events, whose SHA-256 is no longer that of its manifest"):
        manifest.verify(directory, manifest.read(directory), {})
    other = quiet(tmp_path).execute(lambda run: run(Double(run(Timed(WordParams("sun"))))), {})
    assert statuses(other) == ["ran", "ran"]


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_damage_though_nobody_reads_it(tmp_path, change):
    record = quiet(tmp_path).execute(graph("sky"), {})
    artifact = record.artifacts["double"]
    size = (artifact / "text").stat().st_size + change
    with open(artifact / "text", "r+b") as file:
        file.truncate(size)
    record = quiet(tmp_path).execute(graph("sky"), {})
    assert statuses(record) == ["cached", "cached", "ran"]
    assert (artifact / "text").read_text() == "ss"
    assert (artifact.with_name(artifact.name + ".damaged") / "text").stat().st_size == size


def test_a_directory_that_bears_another_keys_name_is_not_believed(tmp_path):
    """As where somebody moves or copies an artifact. It may be the only one, so it is set aside."""
    store = quiet(tmp_path).store
    sky, sun = (Write(WordParams(word)) for word in ("sky", "sun"))
    quiet(tmp_path).execute(lambda run: run(sky), {})
    there, wrong = (store.path(step, step.key({})) for step in (sky, sun))
    shutil.copytree(there, wrong)
    with pytest.raises(DamagedArtifact, match=f"artifact of the key {sky.key({})}"):
        store.find(sun, sun.key({}))
    assert statuses(quiet(tmp_path).execute(lambda run: run(sun), {})) == ["ran"]
    assert (wrong / "text").read_text() == "sun"
    assert (wrong.with_name(wrong.name + ".damaged") / "text").read_text() == "sky"
    assert (there / "text").read_text() == "sky"


def flip_a_bit(path):
    """Damages a file without changing its size or time, as a disk does."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class Line(Artifact):
    @property
    def summary(self) -> str:
        return str(self.read_json("report.json")["summary"])


@dataclasses.dataclass(frozen=True)
class Reporting(Write):
    """Its report is JSON, which a cached run reads."""

    def run(self, out: Path) -> None:
        super().run(out)
        manifest.write_json(out / "report.json", {"summary": self.params.word})

    output = Line


def test_a_damaged_input_is_noticed_before_its_use_and_made_anew(tmp_path):
    first = quiet(tmp_path).execute(graph("sky"), {})
    damaged = first.artifacts["write"]
    flip_a_bit(damaged / "text")
    shown = []
    force = frozenset({"first"})
    record = LocalRunner(tmp_path, show=shown.append, force=force).execute(graph("sky"), {})
    assert statuses(record) == ["ran", "ran", "cached"]
    assert (record.artifacts["double"] / "text").read_text() == "ss"
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


def test_a_damaged_artifact_is_not_set_aside_while_its_step_runs(tmp_path):
    store, step = quiet(tmp_path).store, Write()
    quiet(tmp_path).execute(lambda run: run(step), {})
    artifact = store.path(step, step.key({}))
    other = threading.Thread(target=store.set_aside, args=(DamagedArtifact(artifact, "a file"),))
    with store.locked(step, step.key({})):
        other.start()
        other.join(0.3)
        assert artifact.is_dir()
    other.join(30)
    assert not artifact.exists()
    assert artifact.with_name(artifact.name + ".damaged").is_dir()


@pytest.mark.parametrize("is_mounted", [True, False])
def test_an_artifact_on_another_disk_is_replaced_by_one_here(tmp_path, is_mounted):
    """Somebody has put a link where it was; the disk that it leads to may be away."""
    artifact = quiet(tmp_path).execute(graph("sky"), {}).artifacts["write"]
    shutil.copytree(artifact, tmp_path / "elsewhere")
    shutil.rmtree(artifact)
    artifact.symlink_to(tmp_path / ("elsewhere" if is_mounted else "nowhere"))
    record = quiet(tmp_path).execute(graph("sky"), {})
    assert statuses(record)[0] == ("cached" if is_mounted else "ran")
    record = quiet(tmp_path, force=frozenset(["write"])).execute(graph("sky"), {})
    assert statuses(record)[0] == "ran"
    assert not artifact.is_symlink()
    assert (tmp_path / "elsewhere/text").read_text() == "sky"
    assert [path.name for path in artifact.parent.iterdir()] == [artifact.name]


def test_what_another_run_has_made_anew_is_not_set_aside(tmp_path):
    """Two runs find the same damage; one makes the artifact anew while the other waits to set it aside."""
    store, step = quiet(tmp_path).store, Write()
    quiet(tmp_path).execute(lambda run: run(step), {})
    artifact = store.path(step, step.key({}))
    found, found_later = (DamagedArtifact(artifact, "a file") for _ in range(2))
    assert store.set_aside(found) is not None
    quiet(tmp_path).execute(lambda run: run(step), {})
    assert store.set_aside(found_later) is None
    assert (artifact / "text").read_text() == "sky"


def test_an_artifact_that_is_replaced_while_it_is_read_is_not_set_aside(tmp_path):
    store, step = quiet(tmp_path).store, Write()
    record = quiet(tmp_path).execute(lambda run: run(step), {})
    artifact = record.artifacts["write"]
    content = {**manifest.read(artifact), "created": "2026-01-01T00:00:00+00:00"}
    (artifact / "text").write_text("sun")
    with pytest.raises(DamagedArtifact) as damage:
        manifest.verify(artifact, content, {})
    assert store.set_aside(damage.value) is None
    with pytest.raises(DamagedArtifact) as damage:
        manifest.verify(artifact, manifest.read(artifact), {})
    assert store.set_aside(damage.value) is not None


def test_a_file_that_no_step_wrote_is_refused_before_a_library_reads_it(tmp_path):
    artifact = quiet(tmp_path).execute(graph("sky"), {}).artifacts["write"]
    (artifact / ".notes").write_text("of a system")
    record = quiet(tmp_path, force=frozenset(["first"])).execute(graph("sky"), {})
    assert statuses(record) == ["cached", "ran", "cached"]
    (artifact / "model.safetensors").write_text("other weights")
    with pytest.raises(ArtifactError, match=r"nothing but what its step wrote.*model.safetensors.*move that file"):
        quiet(tmp_path, force=frozenset(["first"])).execute(graph("sky"), {})
    assert (artifact / "text").read_text() == "sky"


def test_what_was_set_aside_before_stays(tmp_path):
    store, step = quiet(tmp_path).store, Write()
    asides = []
    for _ in range(3):
        quiet(tmp_path).execute(lambda run: run(step), {})
        asides.append(store.set_aside(DamagedArtifact(store.path(step, step.key({})), "a file")))
    assert len(set(asides)) == 3
    assert all((aside / "text").is_file() for aside in asides)


def test_an_input_that_changes_during_a_run_is_compared_again(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Spoiling(Double):
        """Changes its input, which it must not."""

        name = "spoiling"

        def run(self, out):
            super().run(out)
            (self.text.directory / "text").write_text("sun")

    def spoil_then_double(run):
        text = run(Write())
        run(Spoiling(text))
        return run(Double(text))

    record = quiet(tmp_path).execute(spoil_then_double, {})
    assert (record.artifacts["double"] / "text").read_text() == "skysky"
    [aside] = (tmp_path / "artifacts/write").glob("*.damaged")
    assert (aside / "text").read_text() == "sun"


@pytest.mark.parametrize("name", ["report.json", "manifest.json"])
def test_a_damaged_report_or_manifest_of_a_cached_step_is_noticed(tmp_path, name):
    def run_one(run):
        return run(Reporting())

    artifact = quiet(tmp_path).execute(run_one, {}).artifacts["write"]
    for position in range(0, (artifact / name).stat().st_size, 31):
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
    artifact = record.artifacts["counting"]
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
    artifact = record.artifacts["first"]
    seen = []
    remove = shutil.rmtree

    def removing(path, *arguments, **options):
        if Path(path).parent == artifact.parent:
            seen.append((Path(path).name, (artifact / "manifest.json").is_file()))
        remove(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", removing)
    quiet(tmp_path, force=frozenset({"first"})).execute(graph("sky"), {})
    assert seen == [(f"{artifact.name}.replaced", True)]


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

    message = "room for what is written" if full else "a rule must hold"
    with pytest.raises(PipelineError, match=message) as raised:
        LocalRunner(tmp_path, show=shown.append).execute(lambda run: run(Filling("disk" if full else "data")), {})
    assert raised.value.exit_code == 1
    assert any("run.json can't be written: No space left" in line for line in shown)


def test_what_a_killed_run_left_beside_a_finished_artifact_goes_with_the_next_run(tmp_path):
    """A run with --force is killed: while the step runs, and between the two renames."""
    artifact = quiet(tmp_path).execute(graph("sky"), {}).artifacts["write"]
    for suffix in (".partial", ".replaced"):
        shutil.copytree(artifact, artifact.with_name(artifact.name + suffix))
    (artifact.with_name(f"{artifact.name}.partial") / "manifest.json").unlink()
    artifact.with_name(f".{artifact.name}.lock").touch()
    assert statuses(quiet(tmp_path).execute(graph("sky"), {})) == ["cached"] * 3
    assert os.listdir(artifact.parent) == [artifact.name]
