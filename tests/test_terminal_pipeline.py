"""The pipeline on terminals: narrow ones, poor ones, one that is resized, and Ctrl-C."""

import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.screen import Screen, program, read_some, set_columns
from tests.screenshots import watched

PIPELINE = Path(__file__).resolve().parent.parent / "pipeline.py"
JOB = """
ingest: {path: notes.txt}
tokenizer: {vocab_size: 300}
preprocess: {text_column: text, block_size: 16}
train:
  model_type: bert
  model_config: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32,
                 max_position_embeddings: 64}
  epochs: 5000
  batch_size: 4
"""


@pytest.fixture
def job(tmp_path):
    (tmp_path / "job.yaml").write_text(JOB)
    lines = (f"Note {number} says that the café is open, or it is not.\n" for number in range(200))
    (tmp_path / "notes.txt").write_text("".join(lines), encoding="utf-8")
    return tmp_path


def arguments(*more):
    return [PIPELINE, "--runner", "local", "--config", "job.yaml", *more]


@pytest.mark.parametrize(
    "poverty",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1", "NO_COLOR": "1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "dumb"},
    ],
)
def test_a_poor_terminal_is_no_obstacle(job, poverty):
    environment = {**os.environ, "TERM": "xterm", **poverty}
    screen = Screen(40)
    with program(*arguments("--until", "tokenizer"), columns=40, cwd=job, env=environment) as (process, terminal):
        text = read_some(terminal, 60)
        assert process.wait(60) == 0, text
    screen.write(text)
    assert "Traceback" not in text
    rows = screen.rows()
    assert re.fullmatch(r"job\.yaml (-|·|\ufffd) root pipeline_root", rows[0])
    assert [row.split()[:2] for row in rows if re.match("  [a-z]", row)] == [["ingest", "ran"], ["tokenizer", "ran"]]
    if "dumb" in poverty.values():
        assert "\r" not in text
        assert "\x1b" not in text


ROWS = re.compile(
    r"job\.yaml · root pipeline_root|  (ingest|tokenizer|preprocess) +(ran|cached) .*|    \S.*|(Run|Report)  .*|\S*"
    r"|  \S.* (\d+%|\d s|[\d,]+|\d+:\d\d).*"
)
"""What may be seen on a screen of 40 columns: lines of steps, broken ones standing in, and one line of progress."""


def test_every_moment_of_a_run_fits_a_narrow_screen(job):
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    with watched(*arguments("--until", "preprocess"), columns=40, cwd=job, env=environment) as seen:
        seen.look(120)
        assert seen.process.wait(60) == 0, seen.text
    strange = set()
    for picture in seen.pictures:
        # The next command is one line whatever its length, so that it can be copied; the terminal breaks it.
        pictured = list(itertools.takewhile(lambda row: not row.startswith("Next step "), picture))
        strange |= {row for row in pictured if not ROWS.fullmatch(row)}
    assert strange == set()
    last = seen.all_rows()
    assert [row.split()[0] for row in last if re.match("  [a-z]", row)] == ["ingest", "tokenizer", "preprocess"]
    assert any(row.startswith("Report ") for row in last)


def test_a_pipe_gets_plain_text(job):
    environment = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "NO_COLOR")}
    shell = '"$@" 2>&1 | tee log'
    command = [sys.executable, *arguments("--until", "ingest")]
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell, "bash", *command],
        cwd=job,
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "TERM": "xterm"},
    )
    assert (job / "log").read_text() == done.stdout
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    begun = [line.split()[0] for line in done.stdout.splitlines() if line]
    assert begun == ["job.yaml", "ingest", "Run", "Report", "Next"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--until", "trian"],
        ["--train.epohs", "3"],
        ["--train.model_type", "robreta"],
        ["--config", "quikstart"],
    ],
)
def test_what_is_misspelt_is_wrong_usage(job, wrong):
    done = subprocess.run([sys.executable, *arguments(*wrong)], cwd=job, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Way out: " in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_printed_as_yaml_can_be_read_back_whatever_the_terminal(job):
    def printed(*more, **environment):
        command = [sys.executable, *arguments("--print_config", *more)]
        return subprocess.run(command, cwd=job, env={**os.environ, **environment}, capture_output=True, check=True)

    text = printed("--ingest.path", "café.txt", PYTHONIOENCODING="ascii").stdout
    assert text.isascii()
    (job / "again.yaml").write_bytes(text)
    again = printed("--config", "again.yaml", PYTHONIOENCODING="utf-8").stdout.decode()
    assert "path: café.txt\n" in again


def test_help_needs_no_docstrings():
    texts = [
        subprocess.run([sys.executable, *options, PIPELINE, "--help"], capture_output=True, check=True).stdout
        for options in ([], ["-OO"])
    ]
    assert texts[0] == texts[1] != b""


@pytest.mark.parametrize("command", [[PIPELINE], [PIPELINE, "--help"], ["-m", "serving", "--model-dir", "."]])
def test_a_directory_that_is_gone_is_told_in_a_line(tmp_path, command):
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", gone, sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(PIPELINE.parent)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "the working directory must exist" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_no_text_in_the_locale_is_refused(job):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, *arguments("--ingest.path", "café.txt")]
    done = subprocess.run(command, cwd=job, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "PYTHONUTF8=1" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">/dev/full", "| head -c 1", "<&- >&- 2>&-"])
def test_output_that_nobody_takes_is_no_obstacle(job, closed):
    shell = f'{{ "$@"; echo $? >&9; }} 9>code {closed}'
    command = [sys.executable, *arguments("--plan")]
    done = subprocess.run(["sh", "-c", shell, "sh", *command], cwd=job, capture_output=True, text=True)
    assert (job / "code").read_text() == "0\n", done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_training_has_one_line_whatever_the_width_and_an_interrupt_has_its_own(job):
    screen = Screen(80)
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    with program(*arguments(), columns=80, cwd=job, env=environment) as (process, terminal):
        until = time.monotonic() + 120
        # The first epoch's validation is compiled, which takes so long that it is told instead.
        while not re.search(r"epoch 2/(?s:.*)tok/s", "\n".join(screen.lines)) and time.monotonic() < until:
            screen.write(read_some(terminal, 0.5))
        for columns in (80, 40, 120, 60):
            screen.resize(columns)
            set_columns(terminal, columns)
            screen.write(read_some(terminal, 2))
            shown = []
            while not shown and time.monotonic() < until + 120:  # an epoch's line may just have taken its place
                screen.write(read_some(terminal, 0.05))
                shown = [row for row in screen.rows() if re.search(r"[\d,]+/[\d,]+", row) and "epoch" not in row]
            assert len(shown) == 1
            rate = "" if columns == 40 else "tok/s"
            assert re.search(rf"\d/\d.* loss \d.*{rate}.*ETA \d", shown[0])
        os.write(terminal, b"\x03")
        screen.write(read_some(terminal, 30))
        assert process.wait(60) == 130
    screen.resize(1000)
    rows = [row for row in screen.rows() if row]
    # The message is broken at 60 columns, where it was written; the command that goes on stands below it.
    [first] = [place for place, row in enumerate(rows) if row.startswith("pipeline.py: interrupted")]
    told = " ".join(map(str.strip, rows[first:]))
    assert re.search(r"goes on with train from step [\d,]+ of ", told)
    assert "Go on " in told
    # The step's line may be drawn once more, and an epoch may end, between the two.
    assert "  stopping after this step, with a checkpoint; once more" in rows
    assert sum("ETA" in row for row in rows) <= 1


@pytest.mark.long
@pytest.mark.slow
def test_a_log_shows_how_far_training_is(job):
    log = job / "log"
    with log.open("w") as stream:
        process = subprocess.Popen([sys.executable, *arguments()], cwd=job, stdout=stream, stderr=stream)
    until = time.monotonic() + 120
    while "  step " not in log.read_text() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.5)
    process.kill()
    process.wait()
    text = log.read_text()
    assert re.search(r"^  step [\d,]+/[\d,]+, .*tok/s, ETA ", text, re.MULTILINE), text[-500:]
    assert "\r" not in text
    assert "\x1b" not in text
