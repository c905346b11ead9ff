"""No code that a step depends on changes unnoticed while the step's version stays."""

import json
import shutil

import pytest

from components.contract.component import Component
from tests import step_versions
from tests.step_versions import ROOT, closure, complaints, current


def test_versions_and_code_are_those_that_were_recorded():
    lines = complaints(json.loads(step_versions.RECORD.read_text("utf-8")), current())
    assert not lines, "\n".join([*lines, "(python -m tests.step_versions --renew)"])


def test_every_step_is_watched():
    import pipeline  # noqa: F401 (imports all steps)

    steps = {step.name for step in Component.__subclasses__() if step.__module__.startswith("components.")}
    assert steps == step_versions.STEPS.keys()


def test_what_is_imported_inside_a_function_belongs_to_a_step():
    modules = closure("train")
    assert {"components.train", "components.training.optimizer", "components.contract", "foundation.disk"} <= set(
        modules
    )
    assert not {name for name in modules if name.startswith(("components.publishing", "runners"))}


@pytest.fixture
def copy(tmp_path):
    """The code, to be changed."""
    for name in step_versions.OURS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_changed_code_is_noticed_and_changed_remarks_are_not(copy):
    before = current(copy)
    path = copy / "components/training/optimizer.py"
    code = path.read_text("utf-8")
    docstring = '"""The arguments of `__init__`, by which Keras makes another like it."""'
    assert docstring in code
    remarked = code.replace(docstring, '"""Something else."""').replace("\n\n\n", "\n\n\n\n# A remark.\n")
    path.write_text(remarked)
    assert current(copy) == before
    path.write_text(code.replace("0.5 * (1.0 + tf.cos", "0.25 * (1.0 + tf.cos"))
    [line] = complaints(before, current(copy))
    assert line.startswith("train: its version is ")
    assert "components.training.optimizer changed" in line
    assert "raise `version` in components/train.py. Either way, record it with --renew" in line


def test_a_raised_version_is_to_be_recorded(copy):
    now = current(copy)
    before = json.loads(json.dumps(now))
    before["steps"]["train"]["version"] = "0"
    assert complaints(before, now) == [
        f"train: its version is {now['steps']['train']['version']} now; record it with --renew"
    ]
