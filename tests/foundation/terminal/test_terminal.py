"""What a run shows, on terminals of all kinds and where there is none."""

import io
import logging
import os
import re
import sys
import time

import pytest

from foundation.errors import ConfigError
from foundation.terminal import BYTES, Terminal, TerminalHandler, is_utf8, take_any_text
from foundation.terminal import terminal as terminal_module
from tests.screen import Screen, read_some, set_columns

LONG = "what is done, at great length, " * 9


@pytest.fixture
def tty(monkeypatch):
    """A function that makes a terminal standard output and standard error, and returns its two ends."""
    ours, theirs = os.openpty()
    streams = [os.fdopen(os.dup(theirs), "w", encoding="utf-8") for _ in range(2)]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal_module, "REDRAW_SECONDS", 0.01)

    def enter(columns=80):
        # In the test itself: pytest puts its own streams there before.
        set_columns(theirs, columns)
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        return ours, theirs

    yield enter
    monkeypatch.undo()
    for stream in streams:
        stream.close()
    os.close(ours)
    os.close(theirs)


def seen_after(screen, ours):
    """The rows after the line was drawn a few times more, if it is drawn at all."""
    last, drawn = time.monotonic(), 0
    while drawn < 3 and time.monotonic() - last < 0.4:
        text = read_some(ours, 0.02)
        drawn += text.count("\x1b[J\r")
        last = time.monotonic() if text else last
        screen.write(text)
    return screen.rows()


@pytest.mark.parametrize("reflows", [True, False])
def test_the_line_fits_whatever_the_width_becomes(tty, reflows):
    ours, theirs = tty()
    screen, terminal = Screen(80, reflows), Terminal()
    terminal.line("what stays")
    with terminal.working("train"):
        terminal.status(lambda columns: LONG[:columns])
        for columns in (80, 40, 120, 25, 26, 200, 3):
            screen.resize(columns)
            set_columns(theirs, columns)
            rows = seen_after(screen, ours)
            assert rows[-1] == LONG[: columns - 1].rstrip()
            assert len(rows) == (2 if columns > 10 or not reflows else 5)  # "what stays" in so many rows of three
    terminal.line("  train  ran")
    screen.resize(200)
    assert [row[:3] for row in seen_after(screen, ours)] == ["wha", "  t", ""]


def test_a_shorter_line_leaves_nothing_of_a_longer_one(tty):
    ours, _ = tty()
    screen, terminal = Screen(80), Terminal()
    with terminal.working("train"):
        terminal.status(lambda columns: LONG[:columns])
        assert seen_after(screen, ours) == [LONG[:79].rstrip()]
        terminal.line("a warning")
        assert seen_after(screen, ours) == ["a warning", LONG[:79].rstrip()]
        terminal.tell("another")
        terminal.status(lambda columns: "short")
        assert seen_after(screen, ours) == ["a warning", "another", "short"]
        terminal.status(None)
        assert re.fullmatch(r"  train       running       0 s", seen_after(screen, ours)[-1])
    terminal.line("done")
    assert seen_after(screen, ours) == ["a warning", "another", "done", ""]


def test_a_log_record_has_a_line_of_its_own(tty, monkeypatch):
    ours, _ = tty()
    screen, terminal = Screen(80), Terminal()
    monkeypatch.setattr(terminal_module, "TERMINAL", terminal)
    with terminal.working("train"):
        terminal.status(lambda columns: LONG[:columns])
        seen_after(screen, ours)
        TerminalHandler().handle(logging.makeLogRecord({"msg": "look %s", "args": ("out",)}))
        assert seen_after(screen, ours) == ["look out", LONG[:79].rstrip()]


def test_who_interrupts_sees_how_far_it_came_and_a_message_below(tty):
    ours, theirs = tty()
    screen, terminal = Screen(80), Terminal()

    def work():
        with terminal.working("train"):
            terminal.status(lambda columns: LONG[:columns])
            seen_after(screen, ours)
            os.write(theirs, b"^C")  # as a terminal echoes it
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    terminal.tell("interrupted")
    assert seen_after(screen, ours) == [LONG[:79].rstrip(), "interrupted", ""]
    sys.stdout.write("^C")
    sys.stdout.flush()
    terminal.tell("interrupted")
    assert seen_after(screen, ours)[-2:] == ["interrupted", ""]


def test_a_step_that_failed_leaves_its_message_only(tty):
    ours, _ = tty()
    terminal = Terminal()
    with pytest.raises(ValueError, match="no"), terminal.working("train"):
        raise ValueError("no")
    assert seen_after(Screen(80), ours) == [""]


def test_long_lines_are_broken_at_words_on_a_terminal_alone(tty, monkeypatch):
    ours, _ = tty(40)
    terminal, long = (
        Terminal(),
        "  ingest      ran         5.6 s  8,180 records (6,544 train, 1,636 test), /a/" + "x" * 50,
    )
    terminal.paragraph(long)
    assert seen_after(Screen(200), ours) == [
        "  ingest      ran         5.6 s  8,180",
        "    records (6,544 train, 1,636 test),",
        "    /a/" + "x" * 50,
        "",
    ]
    terminal.line(long)
    assert seen_after(Screen(200), ours) == [long, ""]
    monkeypatch.setenv("TERM", "dumb")
    terminal.paragraph(long)
    assert seen_after(Screen(200), ours) == [long, ""]


@pytest.mark.parametrize("kind", ["file", "dumb"])
def test_where_nothing_can_be_rewritten_there_is_a_plain_line_now_and_then(kind, tty, monkeypatch, tmp_path):
    ours, _ = tty()
    monkeypatch.setattr(terminal_module, "LINE_SECONDS", 0.2)
    monkeypatch.setattr(terminal_module, "REDRAW_SECONDS", 0.05)
    if kind == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    else:
        monkeypatch.setattr(sys, "stdout", (tmp_path / "log").open("w"))
    terminal = Terminal()
    terminal.line("begun")
    with terminal.working("train"):
        time.sleep(0.6)
        terminal.status(lambda columns: f"halfway {columns}")
        time.sleep(0.6)
    terminal.line("done")
    text = read_some(ours) if kind == "dumb" else (tmp_path / "log").read_text()
    assert "\r" not in text
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0] == "begun"
    assert lines[-1] == "done"
    steps = [line for line in lines[1:-1] if line.startswith("  train       running")]
    assert lines[1:-1] == [*steps, *["halfway None"] * (len(lines) - 2 - len(steps))]
    # One in each 0.2 seconds at most, however slow the machine is.
    assert 1 <= len(steps) <= 3
    assert 1 <= len(lines[1:-1]) - len(steps) <= 3


def test_what_is_quiet_for_a_moment_only_says_nothing(capsys):
    terminal = Terminal()
    with terminal.working("ingest"):
        terminal.line("read")
    assert capsys.readouterr().out == "read\n"


def test_characters_that_an_encoding_lacks_have_stand_ins(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    assert not is_utf8(sys.stdout)
    take_any_text()
    Terminal().line("step 1 █░ 5% · café \udcff")
    assert buffer.getvalue() == b"step 1 #. 5% - caf\\xe9 \\udcff\n"


def test_a_reader_that_goes_away_or_never_was_ends_nothing(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    for _ in range(2):
        Terminal().line("to nobody")
    stream.close()
    monkeypatch.setattr(sys, "stdout", None)
    terminal = Terminal()
    with terminal.working("train"):
        terminal.paragraph("to nobody")


def test_what_libraries_write_has_lines_of_its_own(tty):
    ours, _ = tty()
    screen, terminal = Screen(80), Terminal()
    before = sys.stdout, sys.stderr
    with terminal.working("train"):
        terminal.status(lambda columns: LONG[:columns])
        seen_after(screen, ours)
        print("printed", end=" ")
        print("by a library")
        sys.stderr.write("half a line")
        assert seen_after(screen, ours) == ["printed by a library", LONG[:79].rstrip()]
    assert (sys.stdout, sys.stderr) == before
    assert seen_after(screen, ours) == ["printed by a library", "half a line", ""]


def test_an_error_has_the_way_out_on_a_line_of_its_own(tty, capsys):
    error = ConfigError("train.epochs must be at least 1", received="0", remedy="set --train.epochs, for example to 3")
    ours, _ = tty(40)
    screen, terminal = Screen(40), Terminal()
    terminal.error("pipeline.py", error)
    assert seen_after(screen, ours) == [
        "pipeline.py: train.epochs must be at",
        "  least 1.",
        "  Received: 0.",
        "  Way out: set --train.epochs, for",
        "    example to 3.",
        "",
    ]


def test_an_error_is_one_line_in_a_log(capsys):
    terminal = Terminal()
    terminal.error("pipeline.py", ConfigError("it must be", received="nothing", remedy="do it"))
    assert capsys.readouterr().err == "pipeline.py: it must be. Received: nothing. Way out: do it.\n"


def test_progress_is_shown_while_it_lasts(tty):
    ours, _ = tty()
    screen, terminal = Screen(80), Terminal()
    with terminal.working("preprocess"):
        with terminal.progress("tokenizing", 8, "records") as progress:
            progress.advance(2)
            assert re.fullmatch(r"  preprocess  tokenizing 2/8 records █+░+ 25%", seen_after(screen, ours)[-1])
            with terminal.progress("writing", 4, "records") as within:
                within.advance(4)
                assert "writing 4/4 records" in seen_after(screen, ours)[-1]
            assert "tokenizing 2/8" in seen_after(screen, ours)[-1]
        assert re.fullmatch(r"  preprocess  running +\d s", seen_after(screen, ours)[-1])


def test_bytes_of_files_count_while_they_are_read(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"x" * 1000)
    terminal = Terminal()
    for _ in range(2):  # a file that is read twice counts once
        with terminal.progress("reading", 2000, BYTES) as progress:
            with path.open("rb", buffering=0) as file, terminal.following(path, file):
                file.read(250)
                assert progress.all_done == 250
            assert progress.all_done == 1000
    with terminal.progress("counting", 3, "records") as progress, path.open("rb") as file:
        with terminal.following(path, file):
            pass
        assert progress.all_done == 0
