"""A disk that is full, or refuses, from any change to a file on: one message, and with the disk mended the run goes on.

Full disks of real sizes are in `test_full_disk.py`; here the kernel answers as such a disk does, at any chosen moment.
"""

import re
import shutil

import pytest

from tests.faults.conftest import sample, try_all
from tests.faults.system_calls import FAILING, Fault
from tests.faults.tiny_root import STEPS, before, differences

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

CASES = {"train": 1, "export": 1, "validate": 0.4}
"""How many of a step's changes are tried, where its run takes seconds: less than a half is none by default."""
QUICK_CASES = 3
RULES = {
    "ENOSPC": "the disk must have room|must be able to write its checkpoints",
    "EDQUOT": "the disk must have room|must be able to write its checkpoints",
}
"""What the message begins with; for other errors any rule will do, as long as it names the file or the reason."""


def message_wrong(kind, done, directory):
    """What is wrong with how a run ended that met such a disk; None where nothing is."""
    both = done.output + done.error
    if done.code not in (0, 1, 2):
        return f"exit code {done.code}"
    if "Traceback" in both:
        return "a traceback"
    if "fault of the program" in both:
        return "a fault of the program"
    if done.code == 0:  # what failed was the record or the report alone
        return None if done.error.count("\n") == 0 else "exit code 0 with an error"
    if done.error.count("\n") != 1 or not done.error.startswith("pipeline.py: "):
        return f"{done.error.count(chr(10))} lines of error"
    if "must" not in done.error or "Way out: " not in done.error:
        return "no rule or no way out"
    if kind in RULES and not re.search(RULES[kind], done.error):
        return "another rule"
    if kind in RULES and not re.search(r"[\d,]+ bytes are free", done.error):
        return "no bytes"
    return None


def test_wherever_the_disk_fails_there_is_one_message_and_the_run_goes_on_later(forks, undisturbed, tmp_path):
    cases = []
    for step in STEPS:
        every = [
            (step, kind, number) for number in range(1, len(undisturbed.changes[step]) + 1) for kind in sorted(FAILING)
        ]
        cases += sample(f"disk {step}", every, CASES.get(step, QUICK_CASES))

    def try_one(number, case):
        step, kind, change = case
        directory = before(step, undisturbed.directory, tmp_path / str(number))
        arguments = [*undisturbed.arguments, "--until", step]
        failed = forks.start(arguments, directory, Fault(change, kind)).wait()
        if wrong := message_wrong(kind, failed, directory):
            where = failed.changes[change - 1] if len(failed.changes) >= change else "nowhere"
            return f"{wrong} at {where}: {failed.output[-300:]} {failed.error[-700:]}"
        done = forks.start(arguments, directory).wait()
        if done.code or done.error:
            return f"afterwards, exit code {done.code}: {done.error}"
        found = differences(directory, undisturbed.directory, step)
        shutil.rmtree(directory)
        return f"afterwards {found}" if found else None

    try_all("told and gone on with", try_one, cases)
