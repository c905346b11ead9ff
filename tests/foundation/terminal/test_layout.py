"""Text in as many columns as there are, also where a character has two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from foundation.terminal.layout import cropped, table, wrapped

STEP = "  preprocess  ran         0.4 s  6,585 + 1,799 blocks of 128 tokens, 88 dropped; from column text"
CHINESE = "  ingest      ran         0.4 s  读取了六千五百个记录，没有丢弃任何东西，一切都很好，谢谢你的耐心等待"


def test_further_lines_begin_below_the_last_column_of_the_first():
    assert wrapped(STEP, 79) == [
        "  preprocess  ran         0.4 s  6,585 + 1,799 blocks of 128 tokens, 88",
        " " * 33 + "dropped; from column text",
    ]
    assert wrapped(STEP, 200) == [STEP]


def test_where_there_is_little_room_they_stand_in_by_little():
    assert wrapped(STEP, 39) == [
        "  preprocess  ran         0.4 s  6,585",
        "    + 1,799 blocks of 128 tokens, 88",
        "    dropped; from column text",
    ]


@pytest.mark.parametrize("columns", [39, 79])
def test_wide_characters_have_two_cells(columns):
    lines = wrapped(CHINESE, columns)
    assert max(map(cell_len, lines)) <= columns
    assert "".join(line.strip() for line in lines).replace(" ", "") == CHINESE.replace(" ", "")
    assert len(lines) >= cell_len(CHINESE) // columns


def test_a_path_stays_whole():
    path = "/a/" + "x" * 60
    assert wrapped(f"Report      {path}", 39)[-1].strip() == path


@given(st.text(st.sampled_from("ab 中 x"), max_size=80), st.integers(1, 60))
def test_nothing_is_lost_and_words_alone_are_too_long(text, columns):
    lines = wrapped(text, columns, 0)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(cell_len(line) <= columns or " " not in line.strip() for line in lines)


@given(st.text(st.sampled_from("ab 中 x"), max_size=40), st.integers(0, 60))
def test_what_is_cropped_fits(text, columns):
    assert cell_len(cropped(text, columns)) <= columns


def test_a_table_is_as_wide_as_there_is_room():
    heads, rows = (
        ["run", "config", "size"],
        [["20261130", "实验/配置文件.yaml", "1.2 GB"], ["20261129", "job.yaml", "3 kB"]],
    )
    assert table(heads, rows, cut=1, right=(2,), columns=80).split("\n")[1:] == [
        "20261130  实验/配置文件.yaml  1.2 GB",
        "20261129  job.yaml              3 kB",
    ]
    narrow = table(heads, rows, cut=1, right=(2,), columns=28)
    assert max(map(cell_len, narrow.split("\n"))) <= 28
    assert "…文件.yaml  1.2 GB" in narrow
    assert "1.2 GB" in narrow
    narrower = table(heads, rows, cut=1, right=(2,), columns=20, drop=(2,))
    assert max(map(cell_len, narrower.split("\n"))) <= 20
    assert "1.2 GB" not in narrower
