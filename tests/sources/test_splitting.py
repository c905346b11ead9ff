"""Splits by group and by time, and limits: what belongs together stays on one side, and nothing is lost."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contract.artifacts import Corpus
from components.contract.reports import BySplit, TimeSplit
from components.ingest import Ingest, IngestParams
from components.sources.split_values import Times
from components.sources.splitting import at_random, by_group, by_parts, by_time, draw_groups
from foundation.errors import ConfigError, DataError, PipelineError
from tests.finished import finish


def ingest(folder: Path, records: list[dict[str, Any]], **params: Any) -> Corpus:
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return ingest_file(folder, folder / "a.jsonl", **params)


def ingest_file(folder: Path, path: Path, **params: Any) -> Corpus:
    out = folder / f"out{len(list(folder.iterdir()))}"
    out.mkdir()
    Ingest(IngestParams(path=str(path), **params)).run(out)
    return finish(out, Corpus)


@given(
    st.lists(st.none() | st.sampled_from("abcdefgh"), min_size=2, max_size=60), st.floats(0.1, 0.9), st.integers(0, 9)
)
@settings(max_examples=100)
def test_a_group_is_on_one_side_and_every_record_once(values: list[str | None], test_size: float, seed: int) -> None:
    try:
        rows = by_group("author", pyarrow.array(values, pyarrow.large_string()), test_size, seed)
    except DataError:
        return
    assert sorted([*rows.train, *rows.test]) == list(range(len(values)))
    sides = [{values[row] for row in side} - {None} for side in (rows.train, rows.test)]
    assert not sides[0] & sides[1]
    alone = [sum(values[row] is None for row in side) for side in (rows.train, rows.test)]
    assert rows.by_group is not None
    assert rows.by_group.groups == BySplit(len(sides[0]) + alone[0], len(sides[1]) + alone[1])
    assert rows.by_group.without_value == sum(alone)


@pytest.mark.parametrize(
    ("sizes", "wanted", "best"),
    [
        ([10, 15, 15, 60], 30, 30),
        ([1] * 100, 20, 20),
        ([30, 50, 20], 20, 20),
        ([7, 7, 7, 79], 20, 21),
        ([50, 50], 30, 50),
    ],
)
def test_the_test_split_is_as_near_as_groups_allow(sizes: list[int], wanted: int, best: int) -> None:
    for seed in range(20):
        chosen = draw_groups(np.array(sizes), wanted, np.random.default_rng(seed))
        assert np.array(sizes)[chosen].sum() == best


def test_a_group_of_nearly_all_records_is_refused_with_ways_out_that_work(tmp_path: Path) -> None:
    records = [{"by": "one" if number < 95 else f"{number}", "t": "a"} for number in range(100)]
    with pytest.raises(DataError, match=r"95 of 100 records with by 'one'.*--ingest\.test_size 0\.05"):
        ingest(tmp_path, records, group_column="by")
    corpus = ingest(tmp_path, records, group_column="by", test_size=0.05)
    assert set(corpus.split("test")["by"]) == {"95", "96", "97", "98", "99"}
    with pytest.raises(DataError, match=r"100 of 100 records with t 'a', the largest of 1 groups"):
        ingest(tmp_path, records, group_column="t")


def test_groups_in_nested_records_and_records_without_one(tmp_path: Path) -> None:
    records = [{"post": {"by": f"u{n % 10}" if n % 5 else [None, " "][n % 2]}, "text": f"t {n}"} for n in range(100)]
    corpus = ingest(tmp_path, records, group_column="post.by")
    train, test = (
        {post["by"] for post in corpus.split(name)["post"] if (post["by"] or "").strip()} for name in ("train", "test")
    )
    assert not train & test
    group = corpus.report.by_group
    assert group is not None
    assert group.without_value == 20
    assert (
        f"{group.groups.train} and {group.groups.test} groups by post.by, 20 of them records without" in corpus.summary
    )
    assert any("20 records have no post.by" in sentence for sentence in corpus.report.anomalies)
    assert (
        ingest(tmp_path, records, group_column="post.by", seed=1).split("test")["text"] != corpus.split("test")["text"]
    )


TIMES: dict[str, list[Any]] = {
    "dates": [f"2020-01-{n % 30 + 1:02d}" for n in range(90)],
    "times with zones": [f"2020-01-{n % 30 + 1:02d}T23:00:00+0{n % 3}:00" for n in range(90)],
    "months": [f"20{n % 30 + 10}-05" for n in range(90)],
    "numbers": [n % 30 * 10**9 for n in range(90)],
    "numbers as text": [str(n % 30 - 3.5) for n in range(90)],
    "timestamps": [datetime.datetime(2020, 1, n % 30 + 1, n % 3) for n in range(90)],
    "days": [datetime.date(2020, 1, n % 30 + 1) for n in range(90)],
}


@pytest.mark.parametrize("kind", TIMES)
def test_the_newest_records_are_the_test_split(kind: str, tmp_path: Path) -> None:
    table = pyarrow.table({"when": TIMES[kind], "n": range(90), "text": ["a"] * 90})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    corpus = ingest_file(tmp_path, tmp_path / "a.parquet", time_column="when")
    days = {name: {n % 30 for n in corpus.split(name)["n"]} for name in ("train", "test")}
    assert days == {"train": set(range(24)), "test": set(range(24, 30))}
    assert corpus.report.by_time is not None
    assert f"; test from when {corpus.report.by_time.first_test} on)" in corpus.summary


def test_equal_times_stay_together_and_the_boundary_is_said() -> None:
    times = Times(np.array([5, 1, 1, 3, 3, 3, 3, 3, 3, 1]), are_dates=False)
    rows = by_time("t", times, 0.2, 0)
    assert sorted(rows.test) == [0]
    assert rows.by_time == TimeSplit("t", "3", "5")
    assert sorted(by_time("t", times, 0.6, 0).test) == [0, 3, 4, 5, 6, 7, 8]
    with pytest.raises(DataError, match=r"10 of 10 records with the t 4"):
        by_time("t", Times(np.full(10, 4), are_dates=False), 0.2, 0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "no value in when of record 3 of a.jsonl"),
        ("", "'' in when of record 3 of"),
        ("soon", "'soon' in when of record 3 of a.jsonl, although others are dates"),
    ],
)
def test_a_time_that_cannot_be_read_is_an_error_with_its_record(value: str | None, said: str, tmp_path: Path) -> None:
    records = [{"when": "2020-01-01" if n != 2 else value, "text": "a"} for n in range(9)]
    with pytest.raises(DataError, match=said):
        ingest(tmp_path, records, time_column="when")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"group_column": "autor"}, r"'autor'.*for example to author"),
        ({"group_column": "tags"}, r"one value a record. Received: 'tags' of type list"),
        ({"time_column": "flag"}, r"must hold numbers, dates.*bool"),
    ],
)
def test_a_column_that_cannot_split_is_refused_by_name(params: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        ingest(tmp_path, [{"author": "a", "tags": ["x"], "flag": True, "text": "b"}] * 9, **params)


def test_parts_of_their_own_are_not_split_by_a_column(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "test"):
        (data / f"{name}.jsonl").write_text("".join(json.dumps({"by": f"{n}", "text": name}) + "\n" for n in range(20)))
    with pytest.raises(ConfigError, match=r"files named train and test.*--ingest\.split train\+test"):
        ingest_file(tmp_path, data, group_column="by")
    corpus = ingest_file(tmp_path, data, group_column="by", split="train+test")
    assert not set(corpus.split("train")["by"]) & set(corpus.split("test")["by"])
    limited = ingest_file(tmp_path, data, max_train_records=5)
    assert limited.summary.startswith("25 of 40 records by ingest.max_train_records (5 of 20 train, 20 test, as the")
    kept = [int(number) for number in limited.split("train")["by"]]
    assert kept == sorted(kept) != list(range(5))


def test_limits_take_from_the_split_and_are_said(tmp_path: Path) -> None:
    records = [{"text": f"t {n}"} for n in range(100)]
    whole = ingest(tmp_path, records)
    corpus = ingest(tmp_path, records, max_train_records=30, max_test_records=7)
    assert corpus.split("train")["text"] == whole.split("train")["text"][:30]
    assert corpus.split("test")["text"] == whole.split("test")["text"][:7]
    assert corpus.summary.startswith(
        "37 of 100 records by ingest.max_train_records and ingest.max_test_records (30 of 80 train, 7 of 20 test), "
    )
    assert corpus.report.unlimited == BySplit(80, 20)
    assert ingest(tmp_path, records, max_train_records=80).summary == whole.summary
    both = ingest(tmp_path, records, split="train[:50]", max_train_records=30)
    assert both.summary.startswith("40 of 100 records by ingest.split and ingest.max_train_records (30 of 40 train, 10")


def test_limits_do_not_change_what_parts_and_random_splits_are() -> None:
    assert at_random(10, 0.2, 3).limited(None, None, 3).unlimited is None
    rows = by_parts({"train": 5, "validation": 3, "test": 2})
    assert (list(rows.train), list(rows.test)) == ([0, 1, 2, 3, 4], [8, 9])


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"max_train_records": 0}, "ingest.max_train_records"),
        ({"max_test_records": -1}, "ingest.max_test_records"),
        ({"group_column": "a", "time_column": "b"}, "ingest.group_column"),
        ({"path": "a", "test_path": "b", "time_column": "b"}, "ingest.time_column"),
        ({"group_column": " "}, "ingest.group_column"),
        ({"columns": " , "}, "ingest.columns"),
        ({"columns": []}, "ingest.columns"),
    ],
)
def test_wrong_params_are_refused(params: dict[str, Any], key: str) -> None:
    with pytest.raises(PipelineError, match=key.replace(".", r"\.")):
        IngestParams(**params)
