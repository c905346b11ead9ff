"""Two runners on one root at the same time."""

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from components.contract.component import Component
from foundation.process_lock import LockHeld, ProcessLock
from runners.local import LocalRunner
from tests.runners.small_steps import Text, Write, quiet, statuses

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 1.5
"""How long the step waits for another runner that might run it too."""


@dataclasses.dataclass(frozen=True)
class Slow(Component[Text]):
    """Notes that it runs, and waits for another run of itself, which must not come."""

    notes: str
    name = "slow"
    version = "1"
    output = Text

    def run(self, out: Path) -> None:
        with open(self.notes, "a") as file:
            file.write("ran\n")
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until and Path(self.notes).read_text().count("ran") < 2:
            time.sleep(0.02)
        (out / "text").write_text("made")


def execute(root, notes):
    """What one of the processes does: waits until both are ready, and prints the step's status."""
    with open(notes, "a") as file:
        file.write("ready\n")
    while Path(notes).read_text().count("ready") < 2:
        time.sleep(0.02)
    record = quiet(Path(root)).execute(lambda run: run(Slow(str(notes))), {})
    print(*statuses(record))


def test_a_step_runs_once_and_the_other_runner_waits_for_it(tmp_path):
    notes = tmp_path / "notes"
    code = f"from tests.runners.test_two_runners import execute; execute({str(tmp_path / 'root')!r}, {str(notes)!r})"
    command = [sys.executable, "-c", code]
    runners = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outcomes = sorted(runner.communicate(timeout=60)[0].strip() for runner in runners)
    assert [runner.returncode for runner in runners] == [0, 0]
    assert outcomes == ["cached", "ran"]
    assert notes.read_text().count("ran") == 1
    [artifact] = (tmp_path / "root/artifacts/slow").glob("*/manifest.json")
    assert (artifact.parent / "text").read_text() == "made"
    assert len(list((tmp_path / "root/runs").glob("2*/run.json"))) == 2


def lock_of(root, step):
    """The lock of a step's artifact, as another process would hold it."""
    path = quiet(root).store.path(step, step.key({}))
    path.parent.mkdir(parents=True)
    return ProcessLock(path.with_name(f".{path.name}.lock"), "another")


def test_a_run_that_waits_says_for_whom(tmp_path, monkeypatch):
    monkeypatch.setattr("foundation.process_lock.SILENT_SECONDS", 0.1)
    lock, shown = lock_of(tmp_path, Write()), []
    lock.acquire()
    threading.Timer(0.4, lock.release).start()
    record = LocalRunner(tmp_path, show=shown.append).execute(lambda run: run(Write()), {})
    assert statuses(record) == ["ran"]
    assert [line.split(" on ")[0] for line in shown[:1]] == [f"  write       waits for process {os.getpid()}"]
    assert [line.split()[1] for line in shown] == ["waits", "ran"]
    assert not list(tmp_path.rglob(".*.lock"))


def test_a_run_that_does_not_wait_ends_and_says_for_whom_it_would_have_to(tmp_path):
    shown = []
    refused = pytest.raises(LockHeld, match=rf"write must be alone.* is held by process {os.getpid()} on")
    with lock_of(tmp_path, Write()), refused as raised:
        LocalRunner(tmp_path, wait=False, show=shown.append).execute(lambda run: run(Write()), {})
    assert raised.value.exit_code == 1
    assert shown == []
    content = json.loads((tmp_path / "runs/latest/run.json").read_text())
    assert content["status"] == "failed"
    assert "is held by process" in content["error"]
    assert statuses(quiet(tmp_path, wait=False).execute(lambda run: run(Write()), {})) == ["ran"]
