"""What --verify finds: every changed, missing and additional file of artifacts, checkpoints, versions and records."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from components.contract import manifest, reports
from components.contract.manifest import digest_of_file
from components.publishing.serving_directory import publish
from runners.housekeeping import verification
from runners.housekeeping.verification import Verification, as_text, verify
from tests import reports as complete
from tests.runners.small_steps import graph, quiet, statuses

SETTINGS = {"push": {"serving_dir": "serving", "model_name": "fill_mask"}}


def flip(path, position):
    """Changes one bit, and neither size nor time."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root with a run of three steps, a training that was cut off, a version and an artifact with a report."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    root = tmp_path / "root"
    quiet(root).execute(graph("sky"), SETTINGS)
    checkpoint = root / "artifacts/train/0123456789abcdef.partial/checkpoints/step-7"
    checkpoint.mkdir(parents=True)
    (checkpoint / "variables").write_text("1 2 3")
    manifest.write(checkpoint, {"type": "StepCheckpoint"})
    blocks = root / "artifacts/preprocess/0123456789abcdef"
    blocks.mkdir(parents=True)
    reports.write(blocks / "report.json", complete.blocks())
    manifest.write(blocks, {"type": "Blocks", "component": "preprocess", "key": "0123456789abcdef", "inputs": {}})
    model = tmp_path / "saved_model"
    (model / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (model / name).write_text(name)
    sha256 = {name: digest_of_file(model / name) for name in ("saved_model.pb", "variables/variables.index")}
    publish(model, root / "serving/fill_mask", "digest", sha256, {"blessed": True, "model_digest": "m"})
    return root


def test_a_root_as_it_was_written(root):
    result = verify(root)
    assert result.damages == result.notes == []
    size = sum(path.stat().st_size for path in root.glob("artifacts/*/*[0-9a-f]/*") if path.name != manifest.NAME)
    size += 5 + len("saved_model.pb") + len("variables/variables.index")
    assert list(as_text(result)) == [
        f"4 artifacts, 1 step checkpoint, 1 pushed version, 7 files, {size:,} bytes, all as written"
    ]


def everything_with_a_digest(root):
    """Every file below a root that a flipped bit must not pass in, and what is named where it does."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and "runs" not in path.relative_to(root).parts:
            yield path


def test_a_bit_in_any_file_is_found_and_named(root):
    tried = noticed = 0
    for path in everything_with_a_digest(root):
        for position in {0, path.stat().st_size // 2}:
            content = path.read_bytes()
            if content[position : position + 1].isspace() or position in own_name(content):
                continue
            flip(path, position)
            tried += 1
            result = verify(root)
            noticed += bool(result.damages) and all(str(path) in damage for damage in result.damages)
            path.write_bytes(content)
    assert (tried, noticed) == (tried, tried)
    assert tried > 20


def own_name(content):
    """Where a manifest or record has the names of its own digest: under other names that harms nobody."""
    places = set()
    for name in (b"manifest_digest", b"record_digest"):
        if (begin := content.find(name)) >= 0:
            places |= set(range(begin, begin + len(name)))
    return places


def test_missing_and_additional_files_are_named(root):
    artifact = next(root.glob("artifacts/write/*"))
    version = root / "serving/fill_mask/1"
    (artifact / "text").unlink()
    (artifact / "more").write_text("x")
    (version / "saved_model.pb").unlink()
    (version / "variables/more").write_text("x")
    damages = "\n".join(verify(root).damages)
    assert f"{artifact / 'text'} is missing" in damages
    assert f"{artifact / 'more'}, which the manifest doesn't list" in damages
    assert f"{version / 'saved_model.pb'}: No such file" in damages
    assert f"{version / 'variables/more'}, which its push didn't bring" in damages


def test_an_artifact_in_the_place_of_another_is_named(root):
    artifact = next(root.glob("artifacts/write/*"))
    wrong = artifact.with_name("fedcba9876543210")
    shutil.copytree(artifact, wrong)
    [damage] = verify(root).damages
    assert damage.startswith(f"{wrong}, which its manifest says is the artifact of the key {artifact.name}")


def test_a_report_of_another_version_of_the_program_is_named(root):
    blocks = root / "artifacts/preprocess/0123456789abcdef"
    content = json.loads((blocks / "report.json").read_text())
    (blocks / "manifest.json").unlink()
    (blocks / "report.json").write_text(json.dumps({**content, "unknown": 1}))
    manifest.write(blocks, {"type": "Blocks", "component": "preprocess", "key": "0123456789abcdef", "inputs": {}})
    [damage] = verify(root).damages
    assert "which is no BlocksReport of this version of the program" in damage


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize(
    "name", ["runs/*Z-*/run.json", "artifacts/write/*/manifest.json", "serving/*/1/assets.extra/pushed.json"]
)
def test_what_is_no_record_at_all_is_named(root, name, content):
    [path] = root.glob(name)
    path.write_bytes(content)
    [damage] = verify(root).damages
    assert str(path) in damage
    assert len(damage) < 400


def test_it_changes_nothing_and_the_next_run_mends_what_it_needs(root):
    artifact = next(root.glob("artifacts/write/*"))
    (artifact / "text").write_text("SKY")
    (next(root.glob("artifacts/double/*")) / "text").unlink()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert len(verify(root).damages) == 2
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert statuses(quiet(root).execute(graph("sky"), SETTINGS)) == ["cached", "cached", "ran"]
    result = verify(root)
    assert [str(artifact) in damage for damage in result.damages] == [True]
    assert ["set aside as damaged" in note for note in result.notes] == [True]


def test_a_version_that_an_earlier_version_of_the_program_pushed_or_nobody_is_no_fault(root):
    record = root / "serving/fill_mask/1/assets.extra/pushed.json"
    content = json.loads(record.read_text())
    del content["sha256"], content["record_digest"]
    record.write_text(json.dumps(content))
    (root / "serving/fill_mask/7").mkdir()
    result = verify(root)
    assert result.damages == []
    assert ["only the sizes" in note for note in result.notes] == [True, False]
    (Path(record.parents[1]) / "saved_model.pb").write_text("another size")
    assert len(verify(root).damages) == 1


def test_what_another_process_replaces_meanwhile_is_no_fault(root):
    over = threading.Event()

    def replace():
        while not over.is_set():
            quiet(root, force=frozenset({"write", "first"})).execute(graph("sky"), SETTINGS)

    replacing = threading.Thread(target=replace)
    replacing.start()
    try:
        damages, times = [], 0
        while times < 80 or len(list(root.glob("runs/2*"))) <= 3:
            damages += verify(root).damages
            times += 1
    finally:
        over.set()
        replacing.join()
    assert damages == []


def test_what_was_replaced_or_removed_while_it_was_compared_is_compared_again(root):
    artifact = next(root.glob("artifacts/first/*"))
    times = []

    def replace(directory, content):
        times.append(content["created"])
        if len(times) == 1:
            quiet(root, force=frozenset({"first"})).execute(graph("sky"), SETTINGS)
            return ["a fault of the old one"]
        if len(times) == 3:
            shutil.rmtree(directory)
            return ["a fault of what is gone"]
        return []

    result = Verification()
    verification._check_unless_replaced(artifact, result, replace)
    assert (len(times), result.files, result.damages) == (2, 1, [])
    verification._check_unless_replaced(artifact, result, replace)
    assert (len(times), result.files, result.damages) == (3, 1, [])
