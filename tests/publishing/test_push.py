"""Push: versions appear whole, once, with rising numbers, whoever else pushes."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.contract import manifest, reports
from components.contract.artifacts import Blocks, Checkpoint, Corpus, Evaluation, Pushed, ServingModel, Tokenizer
from components.contract.push_record import PushedTo, model_digest, read_record
from components.evaluation.baseline import find_baseline
from components.publishing import serving_directory
from components.publishing.params import PushParams
from components.push import Push
from foundation.errors import ArtifactError, ConfigError, ModelError, PipelineError
from tests import reports as complete
from tests.blessing import bless


def make_model(directory: Path, content: str) -> ServingModel:
    """A finished ServingModel artifact with the files of a SavedModel, whose bytes nobody parses here."""
    for name in ("saved_model/saved_model.pb", "saved_model/variables/variables.index", "saved_model/assets/a.txt"):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}: {content}")
    (directory / "saved_model/assets.extra/tokenizer").mkdir(parents=True)
    (directory / "saved_model/assets.extra/tokenizer/tokenizer.json").write_text("{}")
    reports.write(directory / "report.json", complete.serving_model())
    manifest.write(directory, {"type": "ServingModel"})
    return ServingModel(directory)


def make_push(tmp_path: Path, content: str = "first", blessed: bool = True, **params: Any) -> Push:
    directory = tmp_path / f"model-{content}"
    model = ServingModel(directory) if directory.exists() else make_model(directory, content)
    none = tmp_path / "none"
    evaluation, checkpoint = tmp_path / f"evaluation-{blessed}", tmp_path / f"checkpoint-{content}"
    for directory, kind in ((none, "Corpus"), (evaluation, "Evaluation"), (checkpoint, "Checkpoint")):
        if not directory.exists():
            (directory / "model").mkdir(parents=True)
            (directory / "model/weights").write_text(content)
            reports.write(directory / "report.json", complete.training())
            reports.write(directory / "blessing.json", complete.blessing(blessed))
            manifest.write(directory, {"type": kind})
    others = Evaluation(evaluation), Checkpoint(checkpoint), Tokenizer(none), Corpus(none), Blocks(none)
    blessing = bless(tmp_path / f"blessing-{content}", model)
    return Push(model, blessing, *others, PushParams(**{"serving_dir": str(tmp_path / "serving"), **params}))


def run(push: Push, out: Path) -> Pushed:
    out.mkdir(parents=True)
    push.run(out)
    manifest.write(out, {"type": "Pushed"})
    return Pushed(out)


def visible(tmp_path: Path) -> list[str]:
    """What a server sees in the base path."""
    return sorted(name for name in os.listdir(tmp_path / "serving/fill_mask") if not name.startswith("."))


def test_first_push_copies_every_file_as_version_1(tmp_path: Path) -> None:
    push = make_push(tmp_path)
    pushed = run(push, tmp_path / "out")
    version = tmp_path / "serving/fill_mask/1"
    for path in push.model.saved_model_directory.rglob("*"):
        if path.is_file():
            copy = version / path.relative_to(push.model.saved_model_directory)
            assert copy.read_bytes() == path.read_bytes()
    assert json.loads((version / "assets.extra/pushed.json").read_text())["digest"] == push.model.digest
    assert pushed.report.created is True
    assert pushed.report.path == str(version)
    assert pushed.summary == f"fill_mask version 1 in {version.parent}"
    assert push.holds(pushed)


def test_a_model_that_was_not_validated_is_refused(tmp_path: Path) -> None:
    push = dataclasses.replace(make_push(tmp_path), blessing=make_push(tmp_path, "another").blessing)
    with pytest.raises(ArtifactError, match=r"model-first, which isn't the one that .*another.*--force validate"):
        run(push, tmp_path / "out")
    assert not (tmp_path / "serving").exists()


def test_the_same_model_twice_is_one_version(tmp_path: Path) -> None:
    push = make_push(tmp_path)
    run(push, tmp_path / "out")
    pushed = run(push, tmp_path / "again")
    assert visible(tmp_path) == ["1"]
    assert pushed.report.created is False
    assert pushed.summary.startswith("already version 1")


def test_a_model_pushed_over_goes_on_top_again(tmp_path: Path) -> None:
    first = make_push(tmp_path)
    pushed = run(first, tmp_path / "out")
    run(make_push(tmp_path, "second"), tmp_path / "out2")
    assert not first.holds(pushed)
    run(first, tmp_path / "out3")
    assert visible(tmp_path) == ["1", "2", "3"]
    assert first.holds(pushed)


def test_a_removed_or_damaged_version_is_pushed_again(tmp_path: Path) -> None:
    push = make_push(tmp_path)
    pushed = run(push, tmp_path / "out")
    (tmp_path / "serving/fill_mask/1/variables/variables.index").write_text("")
    assert not push.holds(pushed)
    run(push, tmp_path / "again")
    assert visible(tmp_path) == ["1", "2"]


@pytest.mark.parametrize("name", ["variables/variables.index", "assets.extra/pushed.json"])
def test_a_version_of_which_one_bit_turned_over_is_pushed_again(tmp_path: Path, capsys: Any, name: str) -> None:
    push = make_push(tmp_path)
    pushed = run(push, tmp_path / "out")
    path = tmp_path / "serving/fill_mask/1" / name
    status, content = path.stat(), bytearray(path.read_bytes())
    place = content.index(b"first" if b"first" in content else b'fill_mask"')
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))  # this process remembers what it has read
    assert not push.holds(pushed)
    run(push, tmp_path / "again")
    assert visible(tmp_path) == ["1", "2"]
    told = capsys.readouterr().err
    assert ("version 1 is damaged" in told and name in told) is (name != "assets.extra/pushed.json")


def test_a_blessing_that_comes_later_is_recorded_in_a_record_that_holds(tmp_path: Path) -> None:
    run(make_push(tmp_path, blessed=False, allow_unblessed=True), tmp_path / "out")
    run(make_push(tmp_path), tmp_path / "again")
    assert visible(tmp_path) == ["1"]
    record = read_record(tmp_path / "serving/fill_mask/1")
    assert record is not None
    assert record["blessed"] is True


def test_numbers_go_on_from_the_highest_as_a_server_reads_them(tmp_path: Path) -> None:
    base = tmp_path / "serving/fill_mask"
    for name in ("00000123", "9_bak", "200.tmp", "model"):
        (base / name).mkdir(parents=True)
    assert run(make_push(tmp_path), tmp_path / "out").report.version == 124


def push_in_process(tmp_path: Path, content: str) -> None:
    run(make_push(tmp_path, content), tmp_path / f"out-{content}")


def test_pushers_at_once_get_a_version_each(tmp_path: Path) -> None:
    contents = [f"m{index}" for index in range(6)]
    for content in contents:
        make_push(tmp_path, content)
    context = multiprocessing.get_context("spawn")
    pushers = [context.Process(target=push_in_process, args=(tmp_path, content)) for content in contents]
    for pusher in pushers:
        pusher.start()
    for pusher in pushers:
        pusher.join()
        assert pusher.exitcode == 0
    assert visible(tmp_path) == ["1", "2", "3", "4", "5", "6"]
    for name in visible(tmp_path):
        assert serving_directory.read_record(tmp_path / "serving/fill_mask" / name) is not None


def test_a_killed_push_leaves_nothing_visible_and_the_next_cleans_up(tmp_path: Path) -> None:
    push = make_push(tmp_path)
    (push.model.saved_model_directory / "variables/variables.index").unlink()
    os.mkfifo(push.model.saved_model_directory / "variables/variables.index")  # the copy waits here for ever
    script = (
        "import sys; from pathlib import Path; from components.publishing.serving_directory import publish;"
        "names = ('saved_model.pb', 'variables/variables.index');"
        "publish(Path(sys.argv[1]), Path(sys.argv[2]), 'd', dict.fromkeys(names, ''), {})"
    )
    base = tmp_path / "serving/fill_mask"
    pusher = subprocess.Popen([sys.executable, "-c", script, push.model.saved_model_directory, base])
    deadline = time.monotonic() + 60
    while not list(base.glob(".pushing-*/variables")) and time.monotonic() < deadline:
        time.sleep(0.01)
    pusher.send_signal(signal.SIGKILL)
    pusher.wait()
    assert list(base.glob(".pushing-*"))
    assert visible(tmp_path) == []
    run(make_push(tmp_path, "second"), tmp_path / "out")
    assert visible(tmp_path) == ["1"]
    assert not list(base.glob(".pushing-*"))


def test_a_full_disk_leaves_nothing_visible(tmp_path: Path) -> None:
    """A file-size limit stops the copy half-way, as a full disk does."""
    push = make_push(tmp_path)
    script = (
        "import errno, resource, signal, sys; from pathlib import Path;"
        "from components.publishing import serving_directory as s;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40));"
        "s.publish(Path(sys.argv[1]), Path(sys.argv[2]), 'd', {'saved_model.pb': 'x'}, {})"
    )
    base = tmp_path / "serving/fill_mask"
    done = subprocess.run(
        [sys.executable, "-c", script, push.model.saved_model_directory, base], capture_output=True, text=True
    )
    assert "PipelineError" in done.stderr
    assert "File too large" in done.stderr
    assert visible(tmp_path) == []
    assert not list(base.glob(".pushing-*"))


def test_no_space_is_told_as_such(tmp_path: Path) -> None:
    expected = pytest.raises(PipelineError, match=r"must have room.*nothing of this push is visible")
    with expected, serving_directory.write_errors(tmp_path):
        raise OSError(28, "No space left on device")


def test_a_model_changed_after_its_export_is_refused(tmp_path: Path) -> None:
    push = make_push(tmp_path)
    path = push.model.saved_model_directory / "assets/a.txt"
    path.write_text(path.read_text().upper())
    with pytest.raises(ArtifactError, match=r"changed since"):
        run(push, tmp_path / "out")
    assert visible(tmp_path) == []


def test_a_file_in_the_way_is_refused_early_and_late(tmp_path: Path) -> None:
    (tmp_path / "serving").write_text("")
    push = make_push(tmp_path)
    with pytest.raises(ConfigError, match=r"not a directory.*--push.serving_dir"):
        push.preflight()
    with pytest.raises(PipelineError, match=r"--push.serving_dir"):
        run(push, tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "serving").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match=r"not writable"):
        make_push(tmp_path).preflight()


@pytest.mark.parametrize("wrong", ["", "a/b", "a:predict", "..", ".hidden", "a b"])
def test_names_that_no_url_can_carry_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"push.model_name"):
        PushParams(model_name=wrong)


def test_where_it_goes_is_part_of_the_key(tmp_path: Path) -> None:
    push = make_push(tmp_path)
    other = dataclasses.replace(push, params=PushParams(serving_dir=str(tmp_path / "elsewhere")))
    assert push.key({}) != other.key({})


def test_a_model_that_is_not_blessed_is_pushed_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"must be blessed.*was kept\. .*not blessed: worse.*--push.allow_unblessed"):
        run(make_push(tmp_path, blessed=False), tmp_path / "out")
    assert not (tmp_path / "serving").exists()


def test_the_refusal_names_what_was_uploaded_during_training(tmp_path: Path) -> None:
    hub = {"hub_model_id": "ada/answers", "license": "mit"}
    with pytest.raises(ModelError, match=r"must be blessed") as refusal:
        run(make_push(tmp_path, blessed=False, during_training=True, **hub), tmp_path / "out")
    assert "what was uploaded while it trained stays in ada/answers on the Hub. Received: " in str(refusal.value)
    with pytest.raises(ModelError, match=r"this one was kept\. Received: "):
        run(make_push(tmp_path, blessed=False, **hub), tmp_path / "other")


def test_an_unblessed_model_can_be_pushed_on_purpose_and_is_marked(tmp_path: Path) -> None:
    pushed = run(make_push(tmp_path, blessed=False, allow_unblessed=True), tmp_path / "out")
    assert pushed.report.blessed is False
    record = serving_directory.read_record(tmp_path / "serving/fill_mask/1")
    assert record is not None
    assert record["blessed"] is False


def test_an_unblessed_version_that_is_blessed_later_is_marked_as_that(tmp_path: Path) -> None:
    run(make_push(tmp_path, blessed=False, allow_unblessed=True), tmp_path / "out")
    later = make_push(tmp_path)
    assert run(later, tmp_path / "later").report.created is False
    assert visible(tmp_path) == ["1"]
    found = find_baseline("last_blessed", later.params.pushed_to, "another")
    assert found is not None
    assert found.saved_model == tmp_path / "serving/fill_mask/1"
    run(make_push(tmp_path, blessed=False, allow_unblessed=True), tmp_path / "again")  # a blessing isn't taken back
    assert find_baseline("last_blessed", later.params.pushed_to, "another") == found


def test_a_dry_run_looks_for_it_on_no_hub(tmp_path: Path) -> None:
    params = PushParams(hub_model_id="me/model", license="mit")
    assert params.pushed_to.hub_model_id == "me/model"
    assert dataclasses.replace(params, dry_run=True).pushed_to.hub_model_id is None


def test_the_last_blessed_model_is_found_but_never_the_model_itself(tmp_path: Path) -> None:
    places = make_push(tmp_path).params.pushed_to
    digests = {}
    for content, blessed in (("first", True), ("second", True), ("third", False)):
        push = make_push(tmp_path, content, blessed, allow_unblessed=True)
        digests[content] = model_digest(push.checkpoint)
        run(push, tmp_path / f"out-{content}")
    found = {content: find_baseline("last_blessed", places, digest) for content, digest in digests.items()}
    assert {content: baseline and baseline.identity for content, baseline in found.items()} == {
        "first": digests["second"],
        "second": digests["first"],
        "third": digests["second"],
    }
    assert find_baseline(None, places, "") is None
    assert find_baseline("last_blessed", PushedTo(str(tmp_path / "nowhere")), "") is None
