"""Which versions stay in a serving directory, and that no server ever sees half of one go."""

import math
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from components.contract.push_record import read_record, write_record
from components.publishing import serving_directory
from components.publishing.params import PushParams
from components.publishing.serving_directory import LOCK_NAME, publish, remove_old_versions
from foundation.errors import ConfigError
from foundation.process_lock import LockHeld, ProcessLock
from foundation.versions import versions
from tests.publishing.test_push import make_push, run, visible
from tests.runners.test_killed_runs import be_killed_at

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_power_is_cut(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def put(base_path, *blessed):
    """Versions from 1 on, each of a model of its own, blessed or not."""
    for number, is_blessed in enumerate(blessed, start=1):
        version = base_path / str(number)
        (version / "assets.extra").mkdir(parents=True)
        (version / "variables").mkdir()
        for name in ("saved_model.pb", "variables/variables.index"):
            (version / name).write_text("model")
        sizes = {"saved_model.pb": 5, "variables/variables.index": 5}
        write_record(version, {"files": sizes, "blessed": is_blessed, "model_digest": f"model {number}"})


def test_all_versions_stay_unless_a_number_is_set(tmp_path):
    for number in range(4):
        run(make_push(tmp_path, f"m{number}"), tmp_path / f"out-{number}")
    assert visible(tmp_path) == ["1", "2", "3", "4"]
    run(make_push(tmp_path, "m4", keep_versions=3), tmp_path / "out")
    assert visible(tmp_path) == ["3", "4", "5"]
    run(make_push(tmp_path, "m4", keep_versions=2), tmp_path / "again")  # is the latest already
    assert visible(tmp_path) == ["4", "5"]
    assert sorted(os.listdir(tmp_path / "serving/fill_mask")) == ["4", "5"]


@pytest.mark.parametrize(
    ("blessed", "left"),
    [
        ([True] * 5, [4, 5]),
        ([True, False, False, False], [1, 3, 4]),  # the only blessed one, which the next model must beat
        ([True, True, False, False, False], [1, 2, 4, 5]),  # and the one that this must beat when it is evaluated again
        ([False] * 4, [3, 4]),
    ],
)
def test_what_the_next_model_must_beat_stays(tmp_path, blessed, left):
    put(tmp_path, *blessed)
    shown = []
    remove_old_versions(tmp_path, 2, shown.append)
    assert list(versions(tmp_path)) == left
    gone = [str(number) for number in range(1, len(blessed) + 1) if number not in left]
    assert shown == [f"removed version{'s' if len(gone) > 1 else ''} {', '.join(gone)}, as push.keep_versions is 2"]


def test_what_was_not_pushed_from_here_or_is_damaged_stays(tmp_path):
    put(tmp_path, True, True, True, True, True)
    shutil.rmtree(tmp_path / "1/assets.extra")
    (tmp_path / "2/saved_model.pb").write_text("")
    remove_old_versions(tmp_path, 2)
    assert list(versions(tmp_path)) == [1, 2, 4, 5]


def test_a_version_goes_by_one_rename_and_the_latest_two_are_always_there(tmp_path):
    put(tmp_path, *[True] * 30)
    seen, over = [], threading.Event()

    def look():
        while not over.is_set():
            for version, path in list(versions(tmp_path).items())[:4]:
                found = read_record(path)
                # It may have gone since it was listed; it must not stay while it is half removed.
                seen.append((version, found is not None or not path.exists()))

    looking = threading.Thread(target=look)
    looking.start()
    remove_old_versions(tmp_path, 2)
    over.set()
    looking.join()
    assert list(versions(tmp_path)) == [29, 30]
    assert seen
    assert all(whole for _, whole in seen)


def kill_everywhere(base):
    begun = base / "begun"
    put(begun, *[True] * 4)
    number, killed = 0, True
    while killed:
        there = base / str(number)
        shutil.copytree(begun, there)
        killed = be_killed_at(number, lambda there=there: remove_old_versions(there, 2))
        number += 1


def test_killed_at_any_moment_it_leaves_whole_versions_and_the_next_push_cleans_up(tmp_path):
    # In a process of its own, because one that has threads must not fork.
    code = f"from tests.publishing.test_serving_retention import *; kill_everywhere(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    places = [path for path in tmp_path.iterdir() if path.name.isdigit()]
    assert len(places) > 8
    for place in places:
        found = versions(place)
        assert list(found)[-2:] == [3, 4]
        assert all(read_record(path) is not None for path in found.values())
        serving_directory.remove_debris(place)
        remove_old_versions(place, 2)
        assert sorted(os.listdir(place)) == ["3", "4"]


def test_a_push_that_does_not_wait_is_told_who_pushes(tmp_path):
    push = make_push(tmp_path, lock_timeout_seconds=0.0)
    base_path = tmp_path / "serving/fill_mask"
    base_path.mkdir(parents=True)
    refused = pytest.raises(LockHeld, match=rf"push must be alone.*is held by process {os.getpid()} on")
    with ProcessLock(base_path / LOCK_NAME, "another"), refused:
        run(push, tmp_path / "out")
    assert not versions(base_path)
    run(push, tmp_path / "again")
    assert list(versions(base_path)) == [1]
    assert os.listdir(base_path) == ["1"]


def test_a_push_that_waits_says_for_whom(tmp_path, monkeypatch):
    monkeypatch.setattr("foundation.process_lock.SILENT_SECONDS", 0.1)
    put(tmp_path / "base", True)
    model = tmp_path / "base/1"
    lock = ProcessLock(tmp_path / "base" / LOCK_NAME, "another")
    lock.acquire()
    threading.Timer(0.4, lock.release).start()
    shown = []
    sha256 = {"saved_model.pb": "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"}
    publish(model, tmp_path / "base", "digest", sha256, {}, show=shown.append)
    assert [line.split(" on ")[0] for line in shown] == [f"waits for process {os.getpid()}"]


@pytest.mark.parametrize(
    "settings",
    [{"keep_versions": 1}, {"keep_versions": 0}, {"lock_timeout_seconds": -1.0}, {"lock_timeout_seconds": math.inf}],
)
def test_numbers_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError, match=f"push.{next(iter(settings))} must be"):
        PushParams(**settings)
