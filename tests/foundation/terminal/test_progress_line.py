"""How far a long piece of work is, in as many columns as there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from foundation.terminal import progress as progress_module
from foundation.terminal.progress import BYTES, Progress, clock, short_number
from foundation.terminal.stages import Stages


@pytest.fixture
def now(monkeypatch):
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (100, f"  preprocess  tokenizing 3,201/6,585 records {'█' * 14}{'░' * 16} 48% 640/s · ETA 0:06"),
        (79, f"  preprocess  tokenizing 3,201/6,585 records {'█' * 6}{'░' * 7} 48% 640/s · ETA 0:06"),
        (60, f"  tokenizing 3,201/6,585 {'█' * 6}{'░' * 8} 48% 640/s · ETA 0:06"),
        (50, f"  tokenizing 3,201/6,585 {'█' * 5}{'░' * 7} 48% ETA 0:06"),
        (39, "3,201/6,585 48% 640/s · ETA 0:06"),
        (24, "3,201/6,585 48% ETA 0:06"),
        (15, "3,201/6,585 48%"),
        (3, "48%"),
        (None, "  preprocess  tokenizing 3,201/6,585 records, 48%, 640/s, ETA 0:06"),
    ],
)
def test_it_says_what_there_is_room_for(now, columns, line):
    progress = Progress("tokenizing", 6585, "records")
    progress.step = "preprocess"
    now[0] += 70  # to load what is needed
    progress.advance(1)
    now[0] += 5
    progress.advance(3200)
    assert progress.line(columns) == line


def test_where_nobody_knows_how_much_there_is_it_says_for_how_long(now):
    progress = Progress("reading", None, BYTES)
    now[0] += 30
    progress.advance(10_000_000)
    now[0] += 60
    progress.advance(4_200_000_000)
    assert progress.line(79) == "  reading 4.2 GB 70 MB/s · 1:30"


def test_where_the_amount_says_nothing_there_is_the_time(now):
    progress = Progress("starting a server", None, unit=None)
    now[0] += 7
    assert progress.line(79) == "  starting a server 0:07"


def test_stages_that_are_over_tell_how_far_the_present_one_is(now):
    stages = Stages({"loading": 2, "saving": 6})
    stages.step = "export"
    now[0] += 4
    assert stages.line(79) == f"  export      loading {'░' * 30} 0%"
    stages.enter("saving")
    now[0] += 6
    assert stages.line(79) == f"  export      saving {'█' * 18}{'░' * 12} 62% ETA 0:06"
    assert stages.line(20) == "saving 62% ETA 0:06"
    lines = []
    for _ in range(3):  # it takes longer than it should
        now[0] += 6
        lines.append(stages.line(None))
    assert {line[:33] for line in lines[1:]} == {"  export      saving, 96%, ETA 0:"}


@given(
    st.integers(1, 300),
    st.one_of(st.none(), st.integers(1, 10**13)),
    st.floats(0, 1.2),
    st.sampled_from(["tokenizing", "下载 数据集/文件.parquet", ""]),
    st.sampled_from(["records", BYTES, ""]),
)
def test_it_never_is_too_wide(columns, total, share, doing, unit):
    progress = Progress(doing, total, unit, done=share * (total or 1e6))
    progress.step = "ingest"
    line = progress.line(columns)
    assert 0 < cell_len(line) <= columns
    assert "100%" not in line or share >= 1


def test_what_is_watched_counts_when_it_is_done():
    progress = Progress("asking", 6)
    seen = [progress.done for _ in progress.watch(["a", "bb", "ccc"], len)]
    assert (seen, progress.done) == ([0, 1, 3], 6)


def test_the_speed_is_that_of_this_run(now):
    progress = Progress("downloading", 1000, BYTES, done=500)
    assert progress.rate is None
    now[0] += 10
    assert progress.rate is None
    progress.advance(20)
    now[0] += 10
    progress.advance(80)
    assert progress.rate == 8
    assert progress.line(None).endswith("8 B/s, ETA 0:50")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (0.2, "0:01"), (18, "0:18"), (3599.5, "1:00:00"), (172000, "47:46:40"), (200000, "2 days 07:33")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4, "0"), (812.4, "812"), (999.7, "1.0k"), (7060, "7.1k"), (9960, "10k"), (26431, "26k"), (1.234e6, "1.2M")],
)
def test_short_number(value, text):
    assert short_number(value) == text
