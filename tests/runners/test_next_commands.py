"""The commands that a run prints: what was typed, changed where it must be, and quoted for a shell."""

import shlex
import sys
from pathlib import Path

import pytest

from foundation import command_text
from runners.command_line import next_commands
from runners.command_line.next_commands import after, pipeline_command, to_load, to_push, without

ROOT = Path(__file__).resolve().parents[2]


def test_options_go_with_their_values():
    typed = ["--config", "eli5", "--force", "train", "evaluate", "--until=train", "--ingest.path", "a b.txt"]
    assert without(typed, "--until", "--force") == ["--config", "eli5", "--ingest.path", "a b.txt"]
    assert without(typed, "--nothing") == typed


@pytest.mark.parametrize(
    ("step", "added"),
    [("ingest", ["--until", "tokenizer"]), ("train", ["--until", "evaluate"]), ("validate", []), ("push", None)],
)
def test_the_step_after(step, added):
    lines = dict(after(step, ["--runner", "local", "--until", step, "--force", step]))
    if added is None:
        assert lines == {}
    else:
        words = shlex.split(lines["Next step"])
        assert words[words.index("--runner") :] == ["--runner", "local", *added]


def test_what_is_typed_is_quoted_for_a_shell(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "pipeline.py")])
    typed = ["--ingest.path", "Ann's $notes *.txt", "--export.example", 'Say "<mask>".']
    [(name, command)] = to_push(typed, "--push.allow_unblessed", "true")
    assert name == "Push it"
    python, program, *rest = shlex.split(command)
    assert (python, program) == (command_text.short(Path(sys.executable)), "pipeline.py")
    assert rest == [*typed, "--push.allow_unblessed", "true"]
    monkeypatch.setattr(sys, "argv", ["/somewhere/pytest"])
    assert shlex.split(pipeline_command(["--list"]))[1:] == ["-m", "pipeline", "--list"]


def test_an_installed_command_is_called_by_its_name_or_its_path(tmp_path, monkeypatch):
    beside = Path(sys.executable).parent
    monkeypatch.setattr(sys, "argv", [str(beside / next_commands.COMMAND)])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(beside.parent)
    assert command_text.installed("hf") == f"{beside.name}/hf"
    assert command_text.installed("no-such-command") == "no-such-command"
    assert pipeline_command([]) == f"{beside.name}/{next_commands.COMMAND}"
    monkeypatch.setenv("PATH", str(beside))
    assert command_text.installed("hf") == "hf"
    assert pipeline_command([]) == next_commands.COMMAND


def test_a_line_of_python_is_one_whatever_the_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "Ann's root/runs/1"
    lines = dict(to_load(tmp_path / "model", run))
    assert lines["Checkpoint"] == "model"
    compile(lines["In Python"], "", "exec")
    assert repr("Ann's root/runs/1") in lines["In Python"]
