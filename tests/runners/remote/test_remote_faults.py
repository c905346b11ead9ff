"""A store that fails, and machines that die: what comes of it is what an undisturbed run makes, or no artifact."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.contract import manifest
from foundation.errors import PipelineError
from runners.local import LocalRunner
from runners.remote.address import STAGING
from runners.remote.leases import SECONDS
from runners.remote.object_store import ObjectStore
from runners.remote.root import open_root
from tests.runners.remote.test_remote_root import artifacts, execute, pages
from tests.runners.small_steps import Write, statuses

REPOSITORY = Path(__file__).resolve().parents[3]
CODE = """
from tests.runners.remote.test_remote_faults import in_a_process
in_a_process({address!r})
"""


def in_a_process(address):
    """What a process does: prints what became of the steps."""
    with open_root(address) as root:
        print(*statuses(execute(root, pages)), flush=True)


def start(address, staging, seconds=60.0):
    environment = {**os.environ, STAGING: str(staging), SECONDS: str(seconds)}
    command = [sys.executable, "-c", CODE.format(address=address)]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)


def test_one_request_in_ten_fails_and_the_result_is_the_same(machine, proxy, monkeypatch):
    with machine("undisturbed") as root:
        execute(root, pages)
        expected = artifacts(root)
        root.objects.remove(root.objects.list("artifacts"))
    monkeypatch.setattr("runners.remote.object_store.FIRST_WAIT_SECONDS", 0.01)
    proxy.share = 0.1
    with machine("one") as one:
        assert statuses(execute(one, pages)) == ["ran", "ran"]
    with machine("two") as two:
        assert statuses(execute(two, pages)) == ["cached", "cached"]
        for name in expected:
            two.storage.fetch(name.rsplit("/", 1)[0])
        assert two.verify().damages == []
        assert artifacts(two) == expected
    assert sum(proxy.spoiled.values()) > 5


def test_a_store_that_keeps_half_of_what_it_is_given_is_found_out(machine, monkeypatch):
    original = ObjectStore.upload

    def halved(self, path, name):
        original(self, path, name)
        if name.endswith("/pages"):
            self.write(name, path.read_bytes()[:-1] + b"?")

    with machine("one") as one:
        with monkeypatch.context() as patch:
            patch.setattr(ObjectStore, "upload", halved)
            with pytest.raises(PipelineError, match="must keep what it is given"):
                execute(one, pages)
        assert artifacts(one) == {}
    with machine("one") as one:
        # What was made is here; it is sent, and not made again.
        assert statuses(execute(one, pages)) == ["cached", "ran"]


def is_put(path, *ends):
    return "/artifacts/" in path and path.split("?")[0].endswith(ends)


@pytest.mark.parametrize(
    "end",
    ["/pages", pytest.param("/manifest.json", marks=pytest.mark.slow), pytest.param("/text", marks=pytest.mark.slow)],
)
def test_killed_while_it_sends_nothing_is_taken_for_an_artifact(end, machine, proxy, address, tmp_path):
    process = None

    def kill(method, path):
        if method == "PUT" and is_put(path, end) and process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    process = start(address, tmp_path / "one")
    proxy.before = kill
    assert process.wait(timeout=120) == -signal.SIGKILL
    proxy.before = lambda method, path: None
    with machine("reader", to_write=False) as reader:
        # The request was on its way, so the manifest is the one object that may have come after all others.
        assert artifacts(reader) == {} or end == "/manifest.json"
    # The lease of the dead process isn't waited for on its own machine.
    with machine("one", wait=False) as one:
        assert statuses(execute(one, pages)) == ["cached", "ran"]
        assert len(artifacts(one)) == 2
        assert one.verify().damages == []


@pytest.mark.slow
def test_another_machine_goes_on_when_the_lease_of_the_dead_one_ends(machine, proxy, address, tmp_path):
    process = None

    def kill(method, path):
        if method == "PUT" and is_put(path, "/pages") and process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    process = start(address, tmp_path / "one", seconds=3.0)
    proxy.before = kill
    assert process.wait(timeout=120) == -signal.SIGKILL
    proxy.before = lambda method, path: None
    with machine("two", seconds=3.0) as two:
        assert two.objects.list("locks")
        assert statuses(execute(two, pages)) == ["ran", "ran"]
        assert two.verify().damages == []


@pytest.mark.slow
def test_two_machines_at_once_make_each_artifact_once(address, proxy, tmp_path):
    both, lock, waiting = threading.Barrier(2, timeout=100), threading.Lock(), []

    def wait_for_the_other(method, path):
        # Both ask for the first artifact's lock before either has it.
        if method == "PUT" and "/locks/artifacts--pages--" in path:
            with lock:
                waiting.append(path)
                is_one_of_the_first = len(waiting) <= 2
            if is_one_of_the_first:
                both.wait()

    proxy.before = wait_for_the_other
    processes = [start(address, tmp_path / name) for name in ("one", "two")]
    said = sorted(process.communicate(timeout=200)[0].split() for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    first, second = said
    assert sorted([first[0], second[0]]) == ["cached", "ran"]
    assert sorted([first[1], second[1]]) == ["cached", "ran"]


@dataclasses.dataclass(frozen=True)
class Training(Write):
    """Writes checkpoints until it is stopped, and goes on from the newest."""

    sent: Callable[[], bool] = dataclasses.field(default=bool, metadata={"key": False})
    name = "training"
    scratch = "checkpoints"

    def newest(self, out):
        return max((int(path.name.split("-")[1]) for path in out.glob("checkpoints/step-*")), default=0)

    def resumes(self, partial):
        return f"step {self.newest(partial)}" if self.newest(partial) else None

    def run(self, out):
        first = self.newest(out)
        for step in range(first + 1, first + 4):
            directory = out / f"checkpoints/step-{step}"
            directory.mkdir(parents=True)
            (directory / "variables").write_text(f"{step}")
            manifest.write(directory, {"type": "StepCheckpoint", "step": step})
        (out / "text").write_text(f"from {first}")
        until = time.monotonic() + 60
        while not self.sent() and time.monotonic() < until:
            time.sleep(0.02)
        if first == 0:
            raise KeyboardInterrupt


def test_another_machine_goes_on_from_the_checkpoints_of_an_unfinished_step(machine):
    with machine("one") as one:
        one.storage.unfinished.every_seconds = 0.05
        step = Training(sent=lambda: any("step-3/manifest" in name for name in one.objects.list("unfinished")))
        with pytest.raises(KeyboardInterrupt):
            execute(one, lambda run: run(step))
        assert not one.objects.list("locks")
        (record,) = (name for name in one.objects.list("runs") if name.endswith("run.json"))
        assert b'"interrupted"' in one.objects.read(record)
        # One of them isn't what was sent.
        broken = next(name for name in one.objects.list("unfinished") if name.endswith("step-3/variables"))
        one.objects.write(broken, b"broken")
    with machine("two") as two:
        shown: list[str] = []
        runner = LocalRunner(two.path, storage=two.storage, show=shown.append)
        record = runner.execute(lambda run: run(Training(sent=lambda: True)), {})
        assert any("goes on from step 2" in line for line in shown)
        assert record.content["steps"][0]["summary"] == "from 2"
        assert not two.objects.list("unfinished")
