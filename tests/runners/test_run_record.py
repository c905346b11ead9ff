"""The record of a run: what it says of a run that ended, that goes on, and that was killed."""

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.errors import ArtifactError
from runners import run_record
from tests.runners.small_steps import Write, graph, quiet, statuses

REPOSITORY = Path(__file__).resolve().parents[2]
KILLED_IN_A_STEP = """
import os, pathlib, sys
from tests.runners.small_steps import Write, quiet

class Killed(Write):
    def run(self, out):
        os.kill(os.getpid(), 9)

quiet(pathlib.Path(sys.argv[1])).execute(lambda run: run(Killed()), {})
"""


def records(root):
    """The content of every `run.json`, in the order of their beginning."""
    paths = sorted(path for path in root.glob("runs/*/run.json") if path.parent.name != "latest")
    return [json.loads(path.read_text()) for path in paths]


def test_the_next_run_writes_into_a_killed_runs_record_that_it_was_killed(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED_IN_A_STEP, tmp_path], cwd=REPOSITORY, check=False)
    assert done.returncode == -9
    [killed] = records(tmp_path)
    assert killed["status"] == "running"
    folder = tmp_path / "runs" / killed["id"]
    quiet(tmp_path).execute(graph("sky"), {})
    after = json.loads((folder / "run.json").read_text())
    assert (after["status"], after["finished"]) == ("killed", None)
    assert after["error"].startswith("the run's process ended without closing this record")
    assert after["started"] == killed["started"]
    assert "The run&#x27;s process ended" in (folder / "report.html").read_text()
    assert {path.name for path in folder.iterdir()} == {"run.json", "report.html"}


def test_a_run_that_goes_on_is_left_alone(tmp_path):
    class Meanwhile(Write):
        def run(self, out):
            super().run(out)
            quiet(tmp_path).execute(graph("sun"), {})
            assert statuses_of_runs() == ["running", "succeeded"]

    def statuses_of_runs():
        return sorted(record["status"] for record in records(tmp_path))

    quiet(tmp_path).execute(lambda run: run(Meanwhile()), {})
    assert statuses_of_runs() == ["succeeded", "succeeded"]
    assert not list(tmp_path.glob("runs/*/.running"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"status": "running"}', b"\xff"])
def test_a_record_that_cannot_be_read_is_left_alone(tmp_path, content):
    folder = tmp_path / "runs/20200101T000000Z-0000"
    folder.mkdir(parents=True)
    (folder / ".running").touch()
    (folder / "run.json").write_bytes(content)
    assert quiet(tmp_path).execute(graph("sky"), {}).content["status"] == "succeeded"
    assert (folder / "run.json").read_bytes() == content


def test_a_flipped_bit_of_a_record_is_noticed_wherever_it_is(tmp_path):
    labels = {1: "a", 10: "b", 2: "c"}
    run = quiet(tmp_path).execute(graph("sky"), {"train": {"model_config": {"id2label": labels}}})
    path = run.directory / "run.json"
    before = run_record.read(path.parent)
    data = path.read_bytes()
    for position in range(len(data)):
        flipped = data[position] ^ 1 << position % 7
        path.write_bytes(data[:position] + bytes([flipped]) + data[position + 1 :])
        # One between two words changes nothing that the record says.
        with contextlib.suppress(ArtifactError):
            assert run_record.read(path.parent) == before


def test_a_root_that_was_copied_without_its_links_goes_on(tmp_path):
    """As by `cp -rL`, or into an archive that has none."""
    first = quiet(tmp_path / "root").execute(graph("sky"), {})
    shutil.copytree(tmp_path / "root", tmp_path / "copy")
    assert not (tmp_path / "copy/runs/latest").is_symlink()
    second = quiet(tmp_path / "copy").execute(graph("sky"), {})
    assert statuses(second) == ["cached"] * 3
    assert (tmp_path / "copy/runs/latest").resolve() == second.directory.resolve()
    [before] = (tmp_path / "copy/runs").glob("latest-before-*")
    assert run_record.read(before)["id"] == first.id
