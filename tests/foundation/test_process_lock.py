"""A lock between processes: one holder at a time, who is named to those who wait, and no file that stays."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from foundation import process_lock
from foundation.process_lock import LockHeld, ProcessLock, holder_of, is_held

REPOSITORY = Path(__file__).resolve().parents[2]
COUNT = """
import sys, pathlib
from foundation.process_lock import ProcessLock
counter = pathlib.Path(sys.argv[2])
for _ in range(100):
    with ProcessLock(pathlib.Path(sys.argv[1]), "count"):
        counter.write_text(str(int(counter.read_text()) + 1))
"""
HOLD = """
import sys, pathlib
from foundation.process_lock import ProcessLock
with ProcessLock(pathlib.Path(sys.argv[1]), "hold"):
    print("held", flush=True)
    sys.stdin.read()
"""


def start(code, *arguments):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=REPOSITORY, **pipes)


@pytest.fixture
def held(tmp_path):
    """A lock that another process holds, and that process."""
    path = tmp_path / ".lock"
    holder = start(HOLD, path)
    assert holder.stdout.readline() == "held\n"
    yield path, holder
    holder.kill()
    holder.communicate()


def test_processes_take_turns_though_each_removes_the_file(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    counting = [start(COUNT, tmp_path / ".lock", counter) for _ in range(4)]
    assert [each.wait(60) for each in counting] == [0] * 4
    assert counter.read_text() == "400"
    assert not (tmp_path / ".lock").exists()
    for each in counting:
        each.communicate()


def test_a_file_that_was_removed_before_it_was_locked_is_no_lock(tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    lock, taken = process_lock._lock, []

    def remove_first(descriptor, kind, where):
        if not taken:
            path.unlink()
        taken.append(where)
        return lock(descriptor, kind, where)

    monkeypatch.setattr(process_lock, "_lock", remove_first)
    assert not ProcessLock(path, "one").take()
    assert ProcessLock(path, "one").take()
    assert not ProcessLock(path, "another").take()


def test_who_does_not_wait_is_told_who_holds_it(held):
    path, holder = held
    with pytest.raises(LockHeld, match=rf"train must be alone.* held by process {holder.pid} on .*\(since 20"):
        ProcessLock(path, "train", timeout_seconds=0).acquire()
    assert path.exists()


def test_who_waits_is_told_once_for_whom(held, monkeypatch):
    path, holder = held
    monkeypatch.setattr(process_lock, "SILENT_SECONDS", 0.1)
    shown = []
    threading.Timer(0.5, holder.kill).start()
    with ProcessLock(path, "train", show=shown.append):
        assert holder_of(path).pid == os.getpid()
    [line] = shown
    assert line.startswith(f"waits for process {holder.pid} on {os.uname().nodename} (since 20")


def test_a_short_wait_is_not_worth_a_line(held):
    path, holder = held
    shown = []
    threading.Timer(0.2, holder.kill).start()
    with ProcessLock(path, "train", show=shown.append):
        assert shown == []


@pytest.mark.parametrize(
    "content", [b"", b'{"pid": 4', b"[]\n", b'{"pid": "x", "host": 1, "since": 2}\n', b"\xff\n", b"\n"]
)
def test_a_holder_that_is_not_named_is_another_process(held, content):
    path, _ = held
    path.write_bytes(content)
    with pytest.raises(LockHeld, match="is held by another process"):
        ProcessLock(path, "train", timeout_seconds=0).acquire()


def test_the_lock_of_a_killed_process_is_free(held):
    path, holder = held
    assert is_held(path)
    holder.kill()
    holder.wait()
    assert path.exists()
    assert not is_held(path)
    with ProcessLock(path, "train", timeout_seconds=0):
        pass
    assert not path.exists()
    assert not is_held(path)


def test_notes_are_there_as_long_as_the_lock(tmp_path):
    lock = ProcessLock(tmp_path / ".lock", "run")
    with lock:
        lock.note("one")
        lock.note("two")
        assert holder_of(lock.path).notes == ("one", "two")
        lock.path.write_text('{"pid": 4')  # cut short by a full disk
        lock.note("three")
        assert "three" in holder_of(lock.path).notes
    assert holder_of(lock.path).notes == ()
    with lock:
        assert holder_of(lock.path).notes == ()


def test_a_wait_ends_when_its_time_is_over(held):
    path, _ = held
    started = time.monotonic()
    with pytest.raises(LockHeld):
        ProcessLock(path, "train", timeout_seconds=0.3).acquire()
    assert time.monotonic() - started >= 0.3
