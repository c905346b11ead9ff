"""A run that is killed at any change to a file, or at any moment, costs nothing but time."""

import shutil
import signal
import time

import pytest

from tests.faults.conftest import chance, sample, try_all
from tests.faults.system_calls import Fault
from tests.faults.tiny_root import STEPS, before, differences

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

KILLS = {"train": 1, "export": 1, "validate": 0.4}
"""How many of a step's changes are tried, where its run takes seconds: less than a half is none by default."""
QUICK_KILLS = 3
MOMENTS = 1


def go_on(forks, undisturbed, step, directory):
    """The same command again; what is wrong then."""
    done = forks.start([*undisturbed.arguments, "--until", step], directory).wait()
    if done.code or done.error:
        return f"exit code {done.code}: {done.error}"
    found = differences(directory, undisturbed.directory, step)
    shutil.rmtree(directory)
    return str(found) if found else None


def test_a_run_killed_at_a_change_to_a_file_is_gone_on_with(forks, undisturbed, tmp_path):
    cases = []
    for step in STEPS:
        numbers = range(1, len(undisturbed.changes[step]) + 1)
        cases += [(step, number) for number in sample(f"kill {step}", numbers, KILLS.get(step, QUICK_KILLS))]

    def try_one(number, case):
        step, change = case
        directory = before(step, undisturbed.directory, tmp_path / str(number))
        killed = forks.start([*undisturbed.arguments, "--until", step], directory, Fault(change, "kill")).wait()
        if killed.code not in (-signal.SIGKILL, 0):
            return f"exit code {killed.code}: {killed.error}"
        return go_on(forks, undisturbed, step, directory)

    try_all("survived", try_one, cases)


def test_a_run_killed_at_any_moment_is_gone_on_with(forks, undisturbed, tmp_path):
    any_moment = chance("moments")
    moments = [any_moment.uniform(0, sum(undisturbed.seconds.values())) for _ in range(1000)]

    def try_one(number, moment):
        step = next(step for step in STEPS if (moment := moment - undisturbed.seconds[step]) < 0)
        directory = before(step, undisturbed.directory, tmp_path / str(number))
        run = forks.start([*undisturbed.arguments, "--until", step], directory)
        assert run.process
        time.sleep(moment + undisturbed.seconds[step])
        run.signal(signal.SIGKILL)
        run.wait()
        return go_on(forks, undisturbed, step, directory)

    try_all("survived", try_one, sample("moments", moments, MOMENTS))
