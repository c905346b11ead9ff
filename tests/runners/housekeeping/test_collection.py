"""What --gc removes and what it keeps: artifacts by reach, runs by age, and debris of processes that were killed."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.contract import manifest, reports
from components.contract.artifacts import Pushed
from components.contract.push_record import write_record
from foundation.errors import ArtifactError, ConfigError
from foundation.process_lock import ProcessLock, is_held
from runners.housekeeping import collection
from runners.housekeeping.collection import as_text, collect
from runners.housekeeping.inventory import take_inventory
from runners.run_record import OWN_DIGEST
from tests import reports as complete
from tests.runners.small_steps import Failing, WordParams, Write, graph, quiet, statuses
from tests.runners.test_killed_runs import be_killed_at

REPOSITORY = Path(__file__).resolve().parents[3]


def run(root, word, **options):
    """A run of three steps; its name."""
    return quiet(root, **options).execute(graph(word), {}).id


def names(root):
    """Runs, artifacts and debris of a root."""
    runs = [path.name for path in (root / "runs").iterdir() if path.is_dir() and not path.is_symlink()]
    artifacts = [path.relative_to(root / "artifacts").as_posix() for path in root.glob("artifacts/*/*")]
    return sorted(runs), sorted(artifacts)


def files(root):
    """Every file of a root with its content, but what belongs to no artifact and no run."""
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def removed(collection):
    return {each.path.name: each.why for each in collection.removals}


@pytest.fixture(autouse=True)
def no_power_is_cut(monkeypatch):
    """Nothing has to wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def many(tmp_path):
    """A root with a run a word, and their names."""
    return tmp_path, [run(tmp_path, word) for word in ("ash", "birch", "cedar", "date")]


def test_what_no_kept_run_reaches_goes_and_the_rest_stays_cached(many):
    root, runs = many
    before = files(root)
    result = collect(root, keep=2)
    left = names(root)
    assert left[0] == sorted(runs[2:])
    assert [name.split("/")[0] for name in left[1]] == ["double", "double", "first", "first", "write", "write"]
    after = files(root)
    assert result.bytes == sum(map(len, before.values())) - sum(map(len, after.values()))
    assert {name: before[name] for name in after} == after
    assert (result.runs, result.artifacts, result.failures) == (2, 6, ())
    assert statuses(quiet(root).execute(graph("date"), {})) == ["cached"] * 3
    assert statuses(quiet(root).execute(graph("cedar"), {})) == ["cached"] * 3
    assert statuses(quiet(root).execute(graph("birch"), {})) == ["ran"] * 3


def test_a_dry_run_says_the_same_and_removes_nothing(many):
    root, _ = many
    before = files(root)
    planned = collect(root, keep=2, dry_run=True)
    assert files(root) == before
    done = collect(root, keep=2)
    assert (planned.removals, planned.bytes, planned.runs, planned.artifacts) == (
        done.removals,
        done.bytes,
        done.runs,
        done.artifacts,
    )
    lines = list(as_text(planned, root, dry_run=True))
    assert len(lines) == 2 + 6 + 1
    assert lines[-1].endswith("would be freed; 2 runs and 6 artifacts stay")
    assert collect(root, keep=2).removals == ()


def test_few_runs_are_all_kept(many):
    root, _ = many
    assert collect(root).removals == ()


def test_an_artifact_that_a_kept_run_shares_with_an_older_one_stays(tmp_path):
    run(tmp_path, "sky")
    run(tmp_path, "sun")  # begins alike, so the last artifact is the same
    collect(tmp_path, keep=1)
    assert [path.parent.name for path in tmp_path.glob("artifacts/*/*/manifest.json")].count("double") == 0
    assert statuses(quiet(tmp_path).execute(graph("sun"), {})) == ["cached"] * 3
    assert statuses(quiet(tmp_path).execute(graph("sky"), {})) == ["ran", "ran", "cached"]


def test_a_run_that_somebody_renamed_is_kept(many):
    root, runs = many
    (root / "runs" / runs[0]).rename(root / "runs/best")
    collect(root, keep=1)
    assert names(root)[0] == sorted([runs[-1], "best"])
    assert statuses(quiet(root).execute(graph("ash"), {})) == ["cached"] * 3


def test_the_newest_run_that_succeeded_is_kept_whatever_failed_since(many):
    root, runs = many
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            quiet(root).execute(lambda run: run(Failing("interrupt")), {})
    collect(root, keep=1)
    assert runs[-1] in names(root)[0]
    assert len(names(root)[0]) == 2
    assert statuses(quiet(root).execute(graph("date"), {})) == ["cached"] * 3


def test_what_the_settings_of_a_kept_run_name_is_kept(many):
    root, _ = many
    [old] = [path for path in root.glob("artifacts/write/*") if path.is_dir() and (path / "text").read_text() == "ash"]
    quiet(root).execute(graph("elm"), {"train": {"pretrained": f"{root}/artifacts/write/{old.name}/model"}})
    collect(root, keep=1)
    assert old.is_dir()
    assert len(list(root.glob("artifacts/write/*/manifest.json"))) == 2


def test_what_a_kept_artifact_was_made_from_is_kept(many):
    root, runs = many
    record = root / "runs" / runs[0] / "run.json"
    content = json.loads(record.read_text())
    del content["steps"][0]
    manifest.write_json(record, manifest.sealed(content, OWN_DIGEST))
    (root / "runs" / runs[0]).rename(root / "runs/best")
    collect(root, keep=1)
    assert statuses(quiet(root).execute(graph("ash"), {})) == ["cached"] * 3


@dataclasses.dataclass(frozen=True)
class Longer(Write):
    """Goes on from another artifact, as a training does from a shorter one."""

    shorter: str = ""
    name = "longer"

    def sources(self):
        return {"continue_from": self.shorter}


def test_what_a_kept_artifact_went_on_from_is_kept(many):
    root, runs = many
    record = json.loads((root / "runs" / runs[0] / "run.json").read_text())
    shorter = root / record["steps"][0]["artifact"]
    digest = manifest.read(shorter)["digest"]
    quiet(root).execute(lambda run: run(Longer(WordParams("oak"), digest)), {})
    collect(root, keep=1)
    assert shorter.is_dir()
    assert not (root / record["steps"][1]["artifact"]).exists()


def test_the_run_whose_model_servers_take_is_kept_and_the_one_of_the_baseline(tmp_path):
    settings = {"push": {"serving_dir": "serving", "model_name": "fill_mask"}}
    runs = []
    for number, (word, blessed) in enumerate(
        [("ash", True), ("birch", True), ("cedar", False), ("date", None)], start=1
    ):
        record = quiet(tmp_path).execute(graph(word), settings)
        runs.append(record.id)
        if blessed is None:
            continue
        version = tmp_path / f"serving/fill_mask/{number}"
        (version / "assets.extra").mkdir(parents=True)
        write_record(version, {"files": {}, "blessed": blessed, "model_digest": word})
        pushed = tmp_path / f"artifacts/push/{number:016x}"
        pushed.mkdir(parents=True)
        report = dataclasses.replace(complete.push(), base_path="serving/fill_mask", version=number)
        reports.write(pushed / "pushed.json", report)
        manifest.write(pushed, {"type": Pushed.__name__, "component": "push", "key": "0", "inputs": {}})
        step = {"name": "push", "status": "ran", "seconds": 1, "key": None, "artifact": str(pushed), "summary": ""}
        content = json.loads((record.directory / "run.json").read_text())
        content = {**content, "steps": [*content["steps"], step]}
        manifest.write_json(record.directory / "run.json", manifest.sealed(content, OWN_DIGEST))
    collect(tmp_path, keep=1)
    assert names(tmp_path)[0] == sorted(runs[1:])
    assert sorted(path.name for path in tmp_path.glob("artifacts/push/*")) == [f"{number:016x}" for number in (2, 3)]
    assert sorted(os.listdir(tmp_path / "serving/fill_mask")) == ["1", "2", "3"]


def make_debris(root, artifact):
    """What processes leave that are killed."""
    for suffix in (".partial", ".replaced", ".damaged", ".damaged2", ".removed"):
        shutil.copytree(artifact, artifact.with_name(artifact.name + suffix))
    half = artifact.with_name("0123456789abcdef.partial")
    half.mkdir()
    (half / "text").write_text("half")
    (artifact.parent / f".{artifact.name}.lock").touch()
    (root / "runs/.latest-20200101T000000Z-0000").symlink_to("nowhere")
    (root / "runs/.removed-20200101T000000Z-0000").mkdir()
    (root / "runs/20200101T000000Z-0001").mkdir()
    next((root / "runs").glob("2*Z-*/run.json")).with_name("run.json.partial").write_text("{")
    base_path = root / "serving/fill_mask"
    (base_path / ".pushing-3-abcd").mkdir(parents=True)
    (base_path / ".removed-1-abcd").mkdir()


def test_debris_goes_and_nothing_else(tmp_path):
    record = quiet(tmp_path).execute(graph("sky"), {})
    before = names(tmp_path)
    make_debris(tmp_path, record.artifacts["first"])
    result = collect(tmp_path)
    assert names(tmp_path) == before
    assert os.listdir(tmp_path / "serving/fill_mask") == []
    assert {path.name for path in record.directory.iterdir()} == {"run.json", "report.html"}
    name = record.artifacts["first"].name
    assert removed(result)[f"{name}.damaged"] == "was set aside as damaged"
    assert len(result.removals) == 12
    assert statuses(quiet(tmp_path).execute(graph("sky"), {})) == ["cached"] * 3


def test_a_lock_that_is_taken_while_the_rest_is_removed_stays(tmp_path, monkeypatch):
    """Large artifacts take a while to remove. A run that begins meanwhile must not lose its lock to --gc."""
    record = quiet(tmp_path).execute(graph("sky"), {})
    make_debris(tmp_path, record.artifacts["first"])
    path = record.artifacts["double"].with_name(f".{record.artifacts['double'].name}.lock")
    path.touch()
    lock, delete, taken = ProcessLock(path, "double"), collection._delete, []

    def delete_while_a_run_begins(each):
        if not taken:
            taken.append(lock.take())
        return delete(each)

    monkeypatch.setattr(collection, "_delete", delete_while_a_run_begins)
    collect(tmp_path)
    assert taken == [True]
    assert is_held(path)
    lock.release()


def test_an_artifact_on_another_disk_stays_there_and_is_shown(tmp_path):
    ash, birch = (quiet(tmp_path / "root").execute(graph(word), {}) for word in ("ash", "birch"))
    artifact = ash.artifacts["write"]
    artifact.rename(tmp_path / "elsewhere")
    artifact.symlink_to(tmp_path / "elsewhere")
    result = collect(tmp_path / "root", keep=1)
    assert artifact.name not in removed(result)
    assert f"artifacts/write/{artifact.name}, a link that somebody has made" in result.notes
    assert (tmp_path / "elsewhere/text").read_text() == "ash"
    assert f"artifacts/write/{artifact.name}" in take_inventory(tmp_path / "root").artifacts
    assert birch.directory.is_dir()


def test_a_run_whose_folder_bears_no_date_ends_nothing(many):
    root, runs = many
    (root / "runs" / runs[-1]).rename(root / "runs/20269999T999999Z-abcd")
    collect(root, keep=1)
    assert names(root)[0] == ["20269999T999999Z-abcd"]


def test_what_is_called_otherwise_is_left_alone(many):
    root, _ = many
    (root / "artifacts/write/notes").mkdir()
    (root / "artifacts/write/0123.txt").write_text("mine")
    (root / "artifacts/write/0123456789abcdef.bak").mkdir()
    collect(root, keep=1)
    assert (root / "artifacts/write/notes").is_dir()
    assert (root / "artifacts/write/0123.txt").is_file()
    assert (root / "artifacts/write/0123456789abcdef.bak").is_dir()


def test_a_lock_and_what_it_is_of_stay_while_a_process_holds_it(many):
    root, _ = many
    artifact = next(path for path in sorted(root.glob("artifacts/write/*")) if (path / "text").read_text() == "ash")
    lock = artifact.with_name(f".{artifact.name}.lock")
    with ProcessLock(lock, "write"):
        result = collect(root, keep=1)
        assert artifact.is_dir()
        assert lock.exists()
        assert result.notes == (f"artifacts/write/{artifact.name}, which another process is writing",)
    collect(root, keep=1)
    assert not artifact.exists()


def cut_off(root, name, age_seconds=0.0):
    """A training that was cut off after its first checkpoint."""
    checkpoint = root / "artifacts/train" / f"{name}.partial/checkpoints/step-1"
    checkpoint.mkdir(parents=True)
    manifest.write(checkpoint, {"type": "StepCheckpoint"})
    then = time.time() - age_seconds
    for path in (checkpoint / "manifest.json", checkpoint, checkpoint.parent, checkpoint.parent.parent):
        os.utime(path, (then, then))
    return checkpoint.parents[1]


def test_a_training_that_can_be_gone_on_from_stays_unless_it_is_older_than_the_kept_runs(many):
    root, _ = many
    new, old = cut_off(root, "a" * 16), cut_off(root, "b" * 16, age_seconds=1000)
    collect(root, keep=4)
    assert new.is_dir()
    assert old.is_dir()  # no run is older than those that are kept
    result = collect(root, keep=3)
    assert new.is_dir()
    assert not old.exists()
    assert removed(result)[old.name] == "half-finished, and older than the runs that are kept"


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_kept_run_whose_record_is_damaged_ends_it_before_anything_is_removed(many, content):
    root, runs = many
    (root / "runs" / runs[-1] / "run.json").write_text(content)
    before = files(root)
    with pytest.raises(
        ArtifactError, match=rf"must know what the runs use.*{runs[-1]}/run\.json.*remove .*runs/{runs[-1]}"
    ):
        collect(root, keep=1)
    assert files(root) == before
    (root / "runs" / runs[0] / "run.json").write_text(content)  # an older one just goes
    (root / "runs" / runs[-1] / "run.json").write_bytes(before[Path("runs", runs[-2], "run.json")])
    collect(root, keep=1)
    assert names(root)[0] == runs[-1:]


def test_a_kept_run_whose_record_is_gone_ends_it_too(many):
    root, runs = many
    (root / "runs" / runs[-1] / "run.json").unlink()
    with pytest.raises(ArtifactError, match="must know what the runs use"):
        collect(root, keep=1)


def test_no_root_and_no_runs_to_keep_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="must be a directory in which a pipeline has run"):
        collect(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="--keep must be at least 1"):
        collect(tmp_path, keep=0)


def test_a_run_that_goes_on_keeps_what_it_has_used(many):
    root, runs = many

    @dataclasses.dataclass(frozen=True)
    class Meanwhile(Write):
        def run(self, out):
            super().run(out)
            seen.append(removed(collect(root, keep=1)))

    def old_then_new(run):
        graph("ash")(run)
        return run(Meanwhile(WordParams("new")))

    seen = []
    record = quiet(root).execute(old_then_new, {})
    assert statuses(record) == ["cached"] * 3 + ["ran"]
    assert set(runs[:3]) <= set(seen[0])
    assert record.artifacts["double"].is_dir()
    collect(root, keep=1)
    assert names(root)[0] == [record.id]


def test_what_a_plan_found_is_in_use_from_then_on(many):
    """It is removed between the plan of a run and the run itself."""
    root, _ = many

    class Collecting(Write):
        def preflight(self):
            collect(root, keep=1)

    def old_and_new(run):
        graph("ash")(run)
        return run(Collecting(WordParams("new")))

    assert statuses(quiet(root).execute(old_and_new, {})) == ["cached"] * 3 + ["ran"]


def collect_until(root, stop):
    """Tidies up without a pause; prints when it has begun, and how often it did."""
    times = 0
    while not Path(stop).exists():
        collect(Path(root), keep=1)
        times += 1
        if times == 1:
            print("begun", flush=True)
    print(times)


def test_runs_lose_nothing_while_other_processes_tidy_up_without_a_pause(tmp_path):
    root, stop = tmp_path / "root", tmp_path / "stop"
    run(root, "elm")
    code = f"from tests.runners.housekeeping.test_collection import *; collect_until({str(root)!r}, {str(stop)!r})"
    command = [sys.executable, "-c", code]
    collecting = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        assert [each.stdout.readline() for each in collecting] == ["begun\n"] * 2
        for word in ("ash", "birch", "cedar", "ash"):
            record = quiet(root).execute(graph(word), {})
            # This run is the newest, so all of its artifacts are there, whole.
            texts = {"write": word, "first": word[0], "double": word[0] * 2}
            for name, directory in record.artifacts.items():
                manifest.verify(directory, manifest.read(directory), {})
                assert (directory / "text").read_text() == texts[name]
            # Nothing that it found finished was taken from under it.
            assert statuses(quiet(root).execute(graph(word), {})) == ["cached"] * 3
    finally:
        stop.touch()
        times = [int(each.communicate(timeout=60)[0]) for each in collecting]
    assert all(count > 3 for count in times)


def kill_everywhere(base):
    """Makes a root `<base>/<number>` for every moment at which --gc can be killed."""
    begun = base / "begun"
    for word in ("ash", "birch", "cedar"):
        record = quiet(begun).execute(graph(word), {})
    make_debris(begun, record.artifacts["first"])
    number, killed = 0, True
    while killed:
        root = base / str(number)
        shutil.copytree(begun, root, symlinks=True)
        killed = be_killed_at(number, lambda root=root: collect(root, keep=1))
        number += 1


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_whole_artifacts_and_the_next_one_ends_the_work(tmp_path):
    # In a process of its own, because one that has threads must not fork.
    code = f"from tests.runners.housekeeping.test_collection import *; kill_everywhere(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    roots = [path for path in tmp_path.iterdir() if path.name.isdigit()]
    assert len(roots) > 20
    expected = None
    for root in sorted(roots, key=lambda path: int(path.name)):
        for path in root.glob("artifacts/*/*"):
            if len(path.name) == 16:
                manifest.verify(path, manifest.read(path), {})
        collect(root, keep=1)
        expected = expected or names(root)
        assert names(root) == expected, root.name
        assert len(expected[0]) == 1
        assert statuses(quiet(root).execute(graph("cedar"), {})) == ["cached"] * 3, root.name
