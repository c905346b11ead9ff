"""A record that a run couldn't close, or didn't come to write, is closed by the next run; nothing says "running"."""

import builtins
import errno
import io
import json
import os

import pytest

from foundation.errors import PipelineError
from runners import run_record
from runners.run_record import RUNNING
from tests.runners.small_steps import Write, graph, quiet


def test_a_record_on_a_disk_that_filled_up_is_closed_by_the_next_run(tmp_path, monkeypatch):
    honest = io.open

    def full(file, mode="r", *arguments, **options):
        if "w" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file)
        return honest(file, mode, *arguments, **options)

    class Filling(Write):
        def run(self, out):
            monkeypatch.setattr(io, "open", full)
            monkeypatch.setattr(builtins, "open", full)
            super().run(out)

    with pytest.raises(PipelineError, match="the disk must have room"):
        quiet(tmp_path).execute(lambda run: run(Filling()), {})
    monkeypatch.undo()
    [record] = tmp_path.glob("runs/2*/run.json")
    assert json.loads(record.read_text())["status"] == "running"
    quiet(tmp_path).execute(graph("sky"), {})
    assert json.loads(record.read_text())["status"] == "killed"
    assert not list(tmp_path.glob(f"runs/*/{RUNNING}"))


def test_a_record_that_cannot_be_closed_for_lack_of_space_is_closed_once_there_is_some(tmp_path, monkeypatch):
    folder = quiet(tmp_path).execute(graph("sky"), {}).directory
    record = {**run_record.read(folder), "status": "running", "finished": None}
    run_record._write(folder / run_record.NAME, record)
    (folder / RUNNING).touch()

    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(run_record, "_write", full)
        assert list(run_record.close_killed_runs(tmp_path)) == []
    assert list(run_record.close_killed_runs(tmp_path)) == [folder]
    assert run_record.read(folder)["status"] == "killed"
    assert not (folder / RUNNING).exists()


def test_a_run_that_was_killed_before_it_had_a_record_leaves_nothing_that_runs(tmp_path):
    folder = tmp_path / "runs/20200101T000000Z-0000"
    folder.mkdir(parents=True)
    (folder / RUNNING).touch()
    (folder / "run.json.partial").write_text("{")
    quiet(tmp_path).execute(graph("sky"), {})
    assert not list(folder.iterdir())


@pytest.mark.parametrize("text", ["Permission denied (os error 13)", "Read-only file system", "Input/output error"])
def test_a_disk_that_refuses_is_no_fault_of_the_program(tmp_path, text):
    class Refused(Write):
        def run(self, out):
            raise RuntimeError(text)

    with pytest.raises(PipelineError, match=r"the system must let a step read and write its files.*files of write are"):
        quiet(tmp_path).execute(lambda run: run(Refused()), {})


def test_what_a_run_left_that_was_killed_while_it_made_its_link_goes(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/.latest-20200101T000000Z-0000").symlink_to("20200101T000000Z-0000")
    folder = quiet(tmp_path).execute(graph("sky"), {}).directory
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted([folder.name, "index.html", "latest"])
