"""The power fails at the moment a step is reported as done: what it made is on the disk, and the run goes on."""

import shutil
import signal
import subprocess
import time

import pytest

from tests.ext4_image import empty_image, mounted
from tests.faults.conftest import sample, try_all
from tests.faults.tiny_root import before, differences

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

MEBIBYTES = 64
CUTS = 2


def until_reported(run, step):
    """Waits until a run says that a step ran; whether it did."""
    while (said := f"\n  {step} " + " " * (10 - len(step)) + " ran ") not in run.output:
        if (run.place / "outcome").exists():
            return said in run.output
        time.sleep(0.002)
    return True


def test_what_was_reported_is_there_after_a_power_cut(forks, undisturbed, tmp_path):
    image = empty_image(tmp_path, MEBIBYTES)

    def try_one(number, step):
        here = tmp_path / str(number)
        here.mkdir()
        disk = shutil.copyfile(image, here / "image")
        with mounted(disk, here / "disk") as place:
            before(step, undisturbed.directory, place / "job")
            subprocess.run(["sync", "-f", place], check=True)
            run = forks.start([*undisturbed.arguments, "--until", step], place / "job")
            if not until_reported(run, step):
                return f"{step} was never reported: {run.wait()}"
            # Who still wrote while the image is copied would make a copy of several moments.
            run.signal(signal.SIGKILL)
            run.wait()
            shutil.copyfile(disk, here / "copy")
        with mounted(here / "copy", here / "after") as place:
            planned = forks.start([*undisturbed.arguments, "--until", step, "--plan"], place / "job").wait()
            if planned.output.split()[1::2] != ["cached"] * len(planned.output.split()[1::2]):
                return f"lost: {planned.output}"
            done = forks.start([*undisturbed.arguments, "--until", step], place / "job").wait()
            if done.code or done.error or f"{step} " not in done.output:
                return f"exit code {done.code}: {done.output} {done.error}"
            found = differences(place / "job", undisturbed.directory, step)
            return str(found) if found else None

    try_all("survived", try_one, sample("cuts", ["ingest", "preprocess", "train", "push"], CUTS))
