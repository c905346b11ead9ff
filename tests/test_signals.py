"""Signals at any moment of the pipeline: it ends within seconds, says how to go on, and leaves nothing behind.

`SIGNALS_ROUNDS` says how often all steps are interrupted, and `SIGNALS_SEED` when and by which signals.
"""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest
from test_pipeline import ROOT, STEPS, latest, write_job

ROUNDS = int(os.environ.get("SIGNALS_ROUNDS", "1"))
SEED = int(os.environ.get("SIGNALS_SEED", "0"))
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
END_SECONDS = 20.0
"""How long the end may take on a machine that does other things as well."""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
MARK = "PROCESS_OF_THIS_TEST"


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, what it wrote, and how long it went on after the last signal."""

    code: int
    out: str
    told: str
    seconds: float

    @property
    def was_interrupted(self):
        return self.code != 0


class Pipeline:
    """A job with a directory for temporary files of its own, whose processes can be told from all others."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.arguments = [*write_job(directory), "--train.epochs", "3"]
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        self.mark = uuid.uuid4().hex

    def run(self, step=None, seconds=0.0, numbers=(), between=0.3):
        """Runs, and sends signals so many seconds after a step began; at the start where none is given."""
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TMPDIR": str(self.temporary), MARK: self.mark}
        command = [sys.executable, str(ROOT / "pipeline.py"), *self.arguments]
        pipe = subprocess.PIPE
        for number in CODES:  # which a shell may have had this process ignore, and then a child does so, too
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        with subprocess.Popen(
            command, cwd=self.directory, env=environment, stdout=pipe, stderr=pipe, text=True
        ) as process:
            wait_for_handlers(process)
            lines = []
            if step is not None and step != STEPS[0]:
                before = f"  {STEPS[STEPS.index(step) - 1]} "
                for line in process.stdout:
                    lines.append(line)
                    if line.startswith(before) and line.split()[1] in ("ran", "cached"):
                        break
            for number in numbers:
                time.sleep(seconds)
                process.send_signal(number)
                seconds = between
            began = time.monotonic()
            out, told = process.communicate(timeout=240)
        return Ended(process.returncode, "".join(lines) + out, told, time.monotonic() - began)

    def processes(self):
        """The command lines of this job's processes that are left."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.cmdline())
            except psutil.Error:
                continue
        return found

    def results(self):
        """What must not depend on interrupts: the metrics, what training made, and which versions are served."""
        run = latest(self.directory)
        train = next(step["artifact"] for step in run["steps"] if step["name"] == "train")
        made = json.loads((self.directory / "root" / train / "manifest.json").read_text())
        weights = {
            name: file["sha256"] for name, file in made["files"].items() if name.startswith(("model", "initial"))
        }
        versions = sorted(path.name for path in (self.directory / "root/serving/tiny").iterdir() if path.name.isdigit())
        return run["metrics"], weights, versions


def wait_for_handlers(process):
    """Waits until a process has begun to handle SIGTERM: before, Python itself starts, and no line of ours runs."""
    caught = 0
    while not caught >> (signal.SIGTERM - 1) & 1:
        assert process.poll() is None
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)


def check_end(job, ended, number, exact=True):
    """What must hold after every interrupt."""
    what = f"{ended}"
    assert ended.code in (0, CODES[number]), what
    assert ended.seconds < END_SECONDS, what
    for text in ("Traceback", "Exception ignored", "fault of the program"):
        assert text not in ended.out + ended.told, what
    left = list(job.temporary.rglob("*"))
    assert not left, left
    assert not list((job.directory / "root/runs").glob("*/tmp"))
    assert job.processes() == []
    if not ended.was_interrupted:
        return
    assert "interrupted" in ended.told.splitlines()[-1], what
    if "root root" in ended.out and list((job.directory / "root/runs").glob("2*")):
        run = latest(job.directory)
        assert (run["status"], run["finished"] is not None) == ("interrupted", True), what
        assert (job.directory / "root/runs/latest/report.html").is_file()
        if exact:
            assert run["error"] in ended.told, what


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    """A job that nothing disturbed, and how long each of its steps took."""
    job = Pipeline(tmp_path_factory.mktemp("alone"))
    ended = job.run()
    assert ended.code == 0, ended
    assert not list(job.temporary.rglob("*"))
    return job, {step["name"]: step["seconds"] for step in latest(job.directory)["steps"]}


@pytest.mark.slow
@pytest.mark.timeout(900 * ROUNDS)
def test_interrupted_in_every_step(left_alone, tmp_path, capsys):
    """By one signal or by two; each time the same command goes on, to the end of a run that nothing disturbed."""
    alone, step_seconds = left_alone
    chance = random.Random(SEED)
    slowest, interrupts = 0.0, 0
    for number in range(ROUNDS):
        job = Pipeline(tmp_path / f"job{number}")
        for place, step in enumerate([None, *STEPS]):
            twice = (place + number) % 2 == 1
            seconds = chance.uniform(0, 0.25 if step is None else step_seconds[step])
            numbers = [chance.choice(list(CODES)) for _ in range(2 if twice else 1)]
            ended = job.run(step, seconds, numbers, between=chance.uniform(0, 1))
            # The first of two signals may have ended it by the time of the second.
            end = next((each for each in numbers if CODES[each] == ended.code), numbers[-1])
            check_end(job, ended, end, exact=not twice)
            slowest, interrupts = max(slowest, ended.seconds), interrupts + ended.was_interrupted
        ended = job.run()
        assert ended.code == 0, ended
        assert job.results() == alone.results()
        assert not list((job.directory / "root/artifacts").glob("*/*.partial"))
    with capsys.disabled():
        print(f"\n{interrupts} interrupts of {ROUNDS * 9} tried; the slowest end took {slowest:.1f} s")


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_run_leaves_no_temporary_files_for_long(tmp_path):
    """They are in its run's folder, and the next run removes them. Its children end with it."""
    job = Pipeline(tmp_path / "job")
    ended = job.run("train", 6.0, [signal.SIGKILL])
    assert ended.code == -signal.SIGKILL, ended
    assert not list(job.temporary.rglob("*"))
    assert list((job.directory / "root/runs").glob("*/tmp"))
    assert job.run("validate", 3.0, [signal.SIGKILL]).code == -signal.SIGKILL
    time.sleep(0.5)
    assert job.processes() == []
    assert job.run().code == 0
    assert not list((job.directory / "root/runs").glob("*/tmp"))
    assert not list(job.temporary.rglob("*"))
    assert [json.loads(path.read_text())["status"] for path in sorted(job.directory.glob("root/runs/2*/run.json"))] == [
        "killed",
        "killed",
        "succeeded",
    ]


def test_a_signal_while_libraries_are_imported_is_told_in_a_line(tmp_path):
    job = Pipeline(Path(tmp_path) / "job")
    ended = job.run(None, 0.02, [signal.SIGTERM])
    assert (ended.code, ended.told.count("\n")) == (143, 1), ended
    assert "interrupted" in ended.told
