"""The command line of --list, --verify and --gc: exit codes, and options that don't go together."""

import itertools

import pytest

import pipeline
from runners.command_line import options
from tests.runners.small_steps import graph, quiet

TASKS = (["--list"], ["--verify"], ["--gc"], ["--plan"], ["--compare", "one", "two"])


@pytest.fixture
def root(tmp_path):
    for word in ("ash", "birch"):
        quiet(tmp_path).execute(graph(word), {})
    return tmp_path


def command(root, *arguments):
    return pipeline.main(["--root", str(root), *arguments])


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(TASKS, 2)))
def test_two_tasks_at_once_are_refused(tmp_path, capsys, one, other):
    assert command(tmp_path, *one, *other) == 2
    told = capsys.readouterr()
    assert told.out == ""
    named = sorted((one[0], other[0]), key=lambda task: options.TASKS.index(task[2:]))
    assert f"Received: {' and '.join(named)}" in told.err


@pytest.mark.parametrize("arguments", [["--keep", "3"], ["--dry_run"], ["--list", "--keep", "3"]])
def test_what_belongs_to_gc_is_refused_without_it(tmp_path, arguments):
    assert command(tmp_path, *arguments) == 2


@pytest.mark.parametrize("task", ["--list", "--verify", "--gc"])
def test_a_root_that_is_not_there_is_refused_and_not_made(tmp_path, capsys, task):
    assert command(tmp_path / "nowhere", task) == 2
    assert "--root must be a directory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", ["0", "-1", "x"])
def test_a_number_of_runs_that_makes_no_sense_is_refused(tmp_path, keep):
    assert command(tmp_path, "--gc", f"--keep={keep}") == 2


def test_they_print_what_they_find(root, capsys):
    assert command(root, "--list") == 0
    assert "2 runs and 6 artifacts" in capsys.readouterr().out
    assert command(root, "--gc", "--keep", "1", "--dry_run") == 0
    planned = capsys.readouterr().out
    assert command(root, "--gc", "--keep", "1") == 0
    done = capsys.readouterr().out
    assert planned.replace("would be ", "") == done
    assert done.endswith("bytes freed; 1 run and 3 artifacts stay\n")
    assert command(root, "--verify") == 0
    assert capsys.readouterr().out.startswith("3 artifacts, 3 files, ")
    next(root.glob("artifacts/first/*/text")).write_text("x")
    assert command(root, "--verify") == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("damaged: ")
    assert told[1].endswith(", 1 fault found")
