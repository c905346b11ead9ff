"""Colors: where there are any, and that nothing is lost without them."""

import io
import os
import re
import sys

import pytest

from foundation.terminal.streams import takes_color
from foundation.terminal.styles import MESSAGES, painted

CODES = re.compile(r"\x1b\[[\d;]*m")
STEP = "  preprocess  ran         0.4 s  6,585 + 1,799 blocks"
BAR = "  step 1,181/1,646 ████████░░░░ 71% loss 4.839"


@pytest.fixture
def streams(monkeypatch):
    """A terminal, and a file."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        yield terminal, io.StringIO()
    os.close(ours)


@pytest.mark.parametrize(
    ("environment", "terminal", "file"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_where_there_are_colors(streams, monkeypatch, environment, terminal, file):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert [takes_color(stream) for stream in streams] == [terminal, file]
    assert [bool(CODES.search(painted(STEP, stream))) for stream in streams] == [terminal, file]


@pytest.mark.parametrize("line", [STEP, BAR, "Report      runs/latest/report.html", "说 [red]not a tag[/red]", ""])
def test_a_line_without_its_codes_is_the_line(streams, line):
    assert CODES.sub("", painted(line, streams[0])) == line


def test_what_stands_out(streams):
    assert painted(STEP, streams[0]).startswith("  \x1b[1mpreprocess\x1b[0m  \x1b[32mran\x1b[0m")
    assert "\x1b[32m████████\x1b[0m\x1b[2m░░░░\x1b[0m" in painted(BAR, streams[0])
    assert painted("  Way out: set it", streams[0], MESSAGES) == "  \x1b[1mWay out\x1b[0m: set it"
    assert sys.stdout is not streams[0]
