"""The same model twice makes one version, whatever was made anew around it; one that answers otherwise another."""

import os
import re
import shutil

import pytest

from tests.faults.conftest import SIZE
from tests.faults.tiny_root import MODEL, ROOT, artifact_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]
LONG = pytest.mark.skipif(SIZE < 2, reason="FAULTS_SIZE=2 tries it")


def versions(directory):
    return sorted(name for name in os.listdir(directory / MODEL) if not name.startswith("."))


@pytest.fixture
def job(undisturbed, tmp_path):
    """A copy of the finished job, from which everything may be made anew."""
    return shutil.copytree(undisturbed.directory, tmp_path / "job", symlinks=True)


def push(forks, undisturbed, directory, *options):
    done = forks.start([*undisturbed.arguments, *options], directory).wait()
    assert (done.code, done.error) == (0, ""), done.error
    return done.output


def test_training_to_equal_weights_makes_no_version(forks, undisturbed, job):
    """Its times, events and speeds are others, which makes no step after it run; anew, it is the same model."""
    output = push(forks, undisturbed, job, "--force", "train")
    assert re.search(r"train +ran", output)
    assert len(re.findall(r"(evaluate|export|validate|push) +cached", output)) == 4
    output = push(forks, undisturbed, job, "--force", "train", "export", "validate", "push")
    assert "already version 1" in output
    assert versions(job) == ["1"]


def test_exporting_again_makes_no_version(forks, undisturbed, job):
    before = (artifact_of(job, "export") / "manifest.json").read_bytes()
    output = push(forks, undisturbed, job, "--force", "export", "push")
    assert (artifact_of(job, "export") / "manifest.json").read_bytes() != before
    assert "already version 1" in output
    assert versions(job) == ["1"]


@LONG
def test_another_root_with_the_same_serving_directory_makes_no_version(forks, undisturbed, job, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("job.yaml", "eli5.json.gz"):
        shutil.copy(job / name, other)
    output = push(forks, undisturbed, other, "--push.serving_dir", job / ROOT / "serving")
    assert "already version 1" in output
    assert versions(job) == ["1"]


@pytest.mark.parametrize(
    "options", [["--export.top_k", "3"], pytest.param(["--tokenizer.model_max_length", "32"], marks=LONG)]
)
def test_a_model_that_answers_otherwise_is_a_version_of_its_own(forks, undisturbed, job, options):
    options += ["--evaluate.baseline", "null"]
    assert "version 2 in" in push(forks, undisturbed, job, *options)
    assert versions(job) == ["1", "2"]
