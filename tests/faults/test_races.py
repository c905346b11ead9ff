"""Two runs at once on one root, of which one stands still now and then, are as one; of two pushes one is the last."""

import os
import shutil
import signal
import time

import pytest

from tests.faults.conftest import SIZE, chance, try_all
from tests.faults.tiny_root import MODEL, before, differences

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

PAUSES = 4
RACES = 2
RUNS = [("ingest", "preprocess"), ("train", "evaluate"), ("push", "push"), ("export", "push")]
"""The first and the last step of each race."""


def stop_now_and_then(run, any_moment, seconds):
    """Stops a run at random moments, for a while each."""
    for _ in range(PAUSES):
        time.sleep(any_moment.uniform(0, seconds / PAUSES))
        if run.signal(signal.SIGSTOP):
            time.sleep(any_moment.uniform(0, seconds / PAUSES))
            run.signal(signal.SIGCONT)


def test_two_runs_at_once_end_as_one(forks, undisturbed, tmp_path):
    cases = [(begin, until, number) for number in range(100) for begin, until in RUNS]

    def try_one(number, case):
        begin, until, _ = case
        any_moment = chance(f"race {case}")
        directory = before(begin, undisturbed.directory, tmp_path / str(number))
        arguments = [*undisturbed.arguments, "--until", until]
        runs = [forks.start(arguments, directory) for _ in range(2)]
        assert all(run.process for run in runs)
        seconds = sum(undisturbed.seconds[step] for step in (begin, until))
        stop_now_and_then(runs[any_moment.randrange(2)], any_moment, seconds)
        for run in runs:
            done = run.wait()
            if done.code or done.error:
                return f"exit code {done.code}: {done.error}"
        found = differences(directory, undisturbed.directory, until)
        shutil.rmtree(directory)
        return str(found) if found else None

    try_all("as one run", try_one, cases[: max(1, round(RACES * SIZE))])


def test_of_two_models_pushed_at_once_the_last_blessed_is_the_better_one(forks, undisturbed, tmp_path):
    """Both were evaluated before any was pushed; the second one to push is compared with the first."""
    directory = before("push", undisturbed.directory, tmp_path / "job")
    worse = ["--train.learning_rate", "5e-4"]
    for options in (worse, []):
        done = forks.start([*undisturbed.arguments, *options, "--until", "validate"], directory).wait()
        assert done.code == 0, done.error
    any_moment = chance("push race")
    pushes = [forks.start([*undisturbed.arguments, *options], directory) for options in (worse, [])]
    stop_now_and_then(pushes[any_moment.randrange(2)], any_moment, 2.0)
    outcomes = [push.wait() for push in pushes]
    assert outcomes[1].code == 0, outcomes[1].error
    versions = sorted(name for name in os.listdir(directory / MODEL) if not name.startswith("."))
    # Either the worse one came first, and the better one over it; or it was refused.
    assert (outcomes[0].code, versions) in [(0, ["1", "2"]), (1, ["1"])], outcomes
    if outcomes[0].code:
        assert "must be better than the last blessed one" in outcomes[0].error or "not blessed" in outcomes[0].error
    again = forks.start(undisturbed.arguments, directory).wait()
    assert again.code == 0, again.error
    assert sorted(name for name in os.listdir(directory / MODEL) if not name.startswith(".")) == versions
