"""Which code made a run: a checkout's commit, whether it was changed, and nothing of another repository."""

import json
import subprocess

import pytest

from foundation.errors import ArtifactError
from runners import run_record
from runners.program_code import program_code
from tests.runners.small_steps import graph, quiet


def git(folder, *arguments):
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    (folder / "inside").mkdir(parents=True)
    (folder / "pipeline.py").write_text("pass\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_a_checkout_has_its_commit_and_says_whether_it_was_changed(checkout):
    code = program_code(checkout)
    assert (code.commit, code.changed) == (git(checkout, "rev-parse", "HEAD"), False)
    (checkout / "notes.txt").write_text("not known to git")
    assert program_code(checkout) == code
    (checkout / "pipeline.py").write_text("print()\n")
    assert program_code(checkout).changed
    assert program_code(checkout).commit == code.commit


def test_a_folder_inside_another_repository_has_no_commit(checkout):
    assert program_code(checkout / "inside").commit is None


def test_without_git_the_version_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code = program_code()
    assert code.commit is None
    assert code.version


def test_a_repository_named_by_the_environment_is_not_the_programs(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(checkout / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert program_code(tmp_path).commit is None
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_WORK_TREE")
    assert program_code(checkout).commit


def test_a_repository_without_a_commit_has_none(tmp_path):
    git(tmp_path, "init", "--quiet")
    assert program_code(tmp_path).commit is None


def test_a_runs_record_names_the_command_and_the_code(tmp_path):
    record = quiet(tmp_path, command="python pipeline.py --runner local").execute(graph("sky"), {})
    content = run_record.read(record.directory)
    assert content["command"] == "python pipeline.py --runner local"
    assert content["code"]["version"] == program_code().version
    alone = run_record.read(quiet(tmp_path).execute(graph("sky"), {}).directory)
    assert alone["command"] is None


@pytest.mark.parametrize(
    "values", [{"command": 3}, {"code": "x"}, {"code": {"commit": 3}}, {"code": {"changed": "no"}}]
)
def test_a_record_whose_code_is_of_the_wrong_form_is_refused(tmp_path, values):
    directory = quiet(tmp_path).execute(graph("sky"), {}).directory
    path = directory / run_record.NAME
    content = {**json.loads(path.read_text()), **values}
    del content[run_record.OWN_DIGEST]
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="a run's folder must hold its record"):
        run_record.read(directory)
