"""Completion as zsh and fish do it, where they are installed."""

import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from components.config.completion import script_for
from components.config.config_files import described_configs
from components.config.sections import STEPS
from runners.command_line.options import build_parser

STEP_NAMES = sorted(STEPS)
TYPED = [
    ("--unt", ["--until"]),
    ("--until ", STEP_NAMES),
    ("--until=tr", ["train"]),
    ("--force train ev", ["evaluate"]),
    ("--force train --pla", ["--plan"]),
    ("--tracking mlflow w", ["wandb"]),
    ("--train.model_type roformer --train.ep", ["--train.epochs"]),
    ("--ingest.path no", ["notes.txt"]),
    ("--name no", []),
    ("--list --js", ["--json"]),
]
"""What is typed after the command, and what is offered for its last word."""


@pytest.fixture
def folder(tmp_path):
    for shell in ("zsh", "fish"):
        (tmp_path / f"completion.{shell}").write_text(script_for(shell, build_parser(), described_configs()))
    (tmp_path / "notes.txt").touch()
    return tmp_path


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
@pytest.mark.parametrize("command", ["masked-lm-pipeline", "./pipeline.py"])
def test_fish_completes(folder, command):
    def offered(typed):
        code = "source completion.fish; complete -C $argv[1]"
        environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        done = subprocess.run(
            ["fish", "-c", code, f"{command} {typed}"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return [line.split("\t")[0].removeprefix("--until=") for line in done.stdout.splitlines()]

    for typed, expected in TYPED:
        assert (typed, sorted(offered(typed))) == (typed, expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_completes(folder):
    def read_until(pattern):
        text, end = "", time.monotonic() + 30
        while not re.search(pattern, text) and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                text += re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\x1b[=>]|[\x07\r]", "", os.read(terminal, 65536).decode())
        assert re.search(pattern, text), text
        return text

    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb", "HOME": str(folder)})
    try:
        # A widget that completes the word and says what then stands there, or what is offered, on a line of its own.
        setup = (
            "unsetopt zle_bracketed_paste; PS1=; autoload -Uz compinit; compinit -u -D; source completion.zsh; "
            'offers() { local -a offered; compadd() { local -a got; builtin compadd -O got "$@"; '
            'offered+=("${got[@]}"); builtin compadd "$@" }; _main_complete; print -r -- "<${(o)offered}>" }; '
            "zle -C offers list-choices offers; bindkey '^I' offers; print -r rea''dy\n"
        )
        os.write(terminal, setup.encode())
        read_until("ready")
        for typed, expected in TYPED:
            os.write(terminal, f"masked-lm-pipeline {typed}\t".encode())
            found = re.search(r"<(.*)>", read_until(r"<.*>"))[1]
            assert (typed, sorted(set(found.split()))) == (typed, expected)
            os.write(terminal, b"\x15")  # erases the line
    finally:
        os.write(terminal, b"\x15exit\n")
        os.waitpid(process, 0)
        os.close(terminal)
