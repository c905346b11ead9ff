"""Streams of local files: what is test and what is train, their order, and shards that are not what they were."""

import json
import os
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet
import pytest
from datasets import Dataset

from components.ingest import IngestParams
from components.sources import beginnings
from components.sources.beginnings import Take
from components.sources.streaming import Stream, evenly
from foundation.errors import ConfigError, DataError
from tests.streamed import ingest, stream_of, train_records, write_shards

ROWS = [[{"text": f"shard {shard} record {number}", "n": number} for number in range(20)] for shard in range(3)]


def texts_of(records: Any) -> list[str]:
    return [record["text"] for record in records]


def write_as(kind: str, directory: Path) -> Path:
    """The rows in files of a kind, a shard each."""
    directory.mkdir()
    for number, rows in enumerate(ROWS):
        path = directory / f"{number}.{kind}"
        frame = pandas.DataFrame(rows)
        if kind == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        elif kind == "json":
            frame.to_json(path, orient="records")
        elif kind == "csv":
            frame.to_csv(path, index=False)
        elif kind == "parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=7)
        elif kind == "txt":
            path.write_text("\n\n".join(texts_of(rows)), encoding="utf-16")
        else:
            Dataset.from_list(rows).save_to_disk(directory / str(number))
    return directory


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "txt", "folder"])
def test_every_record_is_in_one_split_in_the_order_of_the_files(kind: str, tmp_path: Path) -> None:
    corpus = ingest(tmp_path / "corpus", write_as(kind, tmp_path / "data"))
    expected = [texts_of(rows) for rows in ROWS]
    assert corpus.split("test")["text"] == [text for texts in expected for text in texts[:4]]
    assert texts_of(train_records(corpus)) == [text for texts in expected for text in texts[4:]]
    assert not (corpus.directory / "dataset/train").exists()
    assert corpus.report.streamed is not None
    assert corpus.report.streamed.shards == 3
    assert "train streams from 3 shards" in corpus.summary
    assert "12 test records (the first of each shard)" in corpus.summary
    assert any("read at their beginnings" in anomaly for anomaly in corpus.report.anomalies)


def test_the_source_s_own_test_part_is_the_test_split(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, rows in zip(("train-0", "train-1", "test"), ROWS, strict=True):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (data / "validation.jsonl").write_text(json.dumps({"text": "left out", "n": 1}))
    corpus = ingest(tmp_path / "corpus", data)
    assert corpus.split("test")["text"] == texts_of(ROWS[2])
    assert texts_of(train_records(corpus)) == texts_of(ROWS[0] + ROWS[1])
    assert "its own test part" in corpus.summary
    assert any("1 files named validation were left out" in anomaly for anomaly in corpus.report.anomalies)
    given = ingest(tmp_path / "given", data / "train-*.jsonl", test_path=str(data / "test.jsonl"))
    assert given.split("test")["text"] == texts_of(ROWS[2])


def test_only_beginnings_are_read_and_a_limit_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.ingest.STREAMED_TEST_RECORDS", 6)
    data = write_shards(
        tmp_path / "data", [[{"text": f"{shard} {number}"} for number in range(500)] for shard in range(3)]
    )
    corpus = ingest(tmp_path / "corpus", data)
    assert corpus.split("test")["text"] == ["0 0", "0 1", "1 0", "1 1", "2 0", "2 1"]
    assert corpus.report.records.train == 24
    assert len(train_records(corpus)) == 1494


def test_one_shard_is_open_at_a_time(tmp_path: Path) -> None:
    data = write_shards(
        tmp_path / "data", [[{"text": f"{shard} {number}"} for number in range(50)] for shard in range(40)]
    )
    corpus = ingest(tmp_path / "corpus", data)
    files = []
    for batches in (stream_of(corpus).beginnings(3500), (batch for _, batch in stream_of(corpus).record_batches())):
        for _ in batches:
            files.append(len(os.listdir("/proc/self/fd")))
    assert len(files) >= 70
    assert max(files) - min(files) <= 2


def test_shards_shorter_than_their_share_give_it_to_later_ones() -> None:
    take = Take(shards=4, records=40, test_share=0.2)
    for available in (1, 1, 100, 100):
        take.of_records(iter([]))
        list(take.of_records((None, {}) for _ in range(available)))  # type: ignore[arg-type]
    assert take.read == [1, 1, 28, 10]
    assert sum(take.test_records) == 8
    assert all(test <= read for test, read in zip(take.test_records, take.read, strict=True))


def test_large_records_end_a_beginning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(beginnings, "MOST_BYTES", 5000)
    data = write_shards(tmp_path / "data", [[{"text": "x" * 1000} for _ in range(100)]])
    corpus = ingest(tmp_path / "corpus", data)
    assert sum(corpus.report.records) == 5
    assert len(train_records(corpus)) == 99


def test_a_stream_ends_after_the_most_records_and_goes_on_from_any_place(tmp_path: Path) -> None:
    corpus = ingest(tmp_path / "corpus", write_as("parquet", tmp_path / "data"))
    whole = stream_of(corpus)
    placed = [(place, batch.num_rows) for place, batch in whole.record_batches()]
    everything, read = train_records(corpus), 0
    for place, rows in placed:
        read += rows
        rest = [record for _, batch in whole.record_batches(place, read) for record in batch.to_pylist()]
        assert rest == everything[read:]
    for most in (1, 16, 17, 48, 99):
        report = corpus.stream.__class__(**{**vars(corpus.stream), "max_train_records": most})
        limited = Stream(report, whole.schema, whole.paths)
        found = [record for _, batch in limited.record_batches() for record in batch.to_pylist()]
        assert found == everything[:most]
        assert [record for batch in limited.beginnings(10**6) for record in batch.to_pylist()] == found


@pytest.mark.parametrize("how", ["another word", "longer", "removed", "while it is read"])
def test_a_shard_that_is_not_what_it_was_is_named(how: str, tmp_path: Path) -> None:
    data = write_as("jsonl", tmp_path / "data")
    corpus = ingest(tmp_path / "corpus", data)
    batches = stream_of(corpus).record_batches()
    next(batches)
    path = data / ("0.jsonl" if how == "while it is read" else "1.jsonl")
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(content + b"\n" if how == "longer" else content.replace(b"record 3", b"recerd 3"))
        os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match=rf"{path.name}: its? .*run the same command again"):
        list(batches)


def test_what_differs_after_the_beginnings_is_text_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.ingest.STREAMED_TEST_RECORDS", 1)
    rows: list[Any] = [{"text": "a"}] * 5 + [{"text": 7}, {"other": 1}, {"text": ["é"]}, {"text": "\ud800half"}]
    corpus = ingest(tmp_path / "corpus", write_shards(tmp_path / "data", [rows]))
    assert texts_of(train_records(corpus)) == ["a"] * 4 + ["7", None, '["é"]', "\ufffdhalf"]
    nested = ingest(tmp_path / "other", write_shards(tmp_path / "o", [[{"text": {"a": "b"}}] * 5 + [{"text": "c"}]]))
    with pytest.raises(DataError, match=r"`text` is text or a number in .*part-000.jsonl.gz, line 6"):
        list(stream_of(nested, ("text", "a")).record_batches())


def test_nested_text_comes_without_the_fields_beside_it(tmp_path: Path) -> None:
    rows = [{"q": "t", "answers": [{"text": [f"answer {number}", "b"], "score": number}]} for number in range(10)]
    corpus = ingest(tmp_path / "corpus", write_shards(tmp_path / "data", [rows]))
    (_, batch), *_ = stream_of(corpus, ("answers", "text")).record_batches()
    assert batch.to_pylist()[0] == {"answers": [{"text": ["answer 2", "b"]}]}


def test_columns_and_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_shards(tmp_path / "data", [[{**row, "author": "x"} for row in rows] for rows in ROWS])
    params = {"columns": "author,text", "max_test_records": 6, "max_train_records": 20}
    corpus = ingest(tmp_path / "corpus", data, **params)
    assert corpus.split("test").column_names == ["text", "author"]
    assert corpus.split("test")["text"] == [rows[number]["text"] for rows in ROWS for number in (0, 1)]
    assert texts_of(train_records(corpus)) == texts_of([*ROWS[0][2:], *ROWS[1][2:4]])
    assert "of train the first 20 at most (ingest.max_train_records)" in corpus.summary
    both = stream_of(corpus, ("text",), ("author",))
    assert next(both.record_batches())[1].to_pylist()[0] == {"text": "shard 0 record 2", "author": "x"}
    with pytest.raises(ConfigError, match="'textt', which isn't among text, n, author"):
        ingest(tmp_path / "other", data, columns="textt")


@pytest.mark.parametrize("orient", ["columns", "split", "multi-line"])
def test_one_json_object_is_refused_with_a_way_out(orient: Any, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    if orient == "multi-line":
        path.write_text(json.dumps({"data": ROWS[0]}, indent=1))
    else:
        pandas.DataFrame(ROWS[0]).to_json(path, orient=orient)
    with pytest.raises(DataError, match=r"one object: it must be in memory as a whole.*JSON Lines"):
        ingest(tmp_path / "corpus", path)


def test_a_file_without_records_is_told(tmp_path: Path) -> None:
    data = write_shards(tmp_path / "data", [[{"text": "a"}] * 3, [], [{"text": "b"}] * 3])
    corpus = ingest(tmp_path / "corpus", data)
    assert any("part-001.jsonl.gz holds no records" in anomaly for anomaly in corpus.report.anomalies)
    assert corpus.split("test")["text"] == ["a", "b"]
    assert texts_of(train_records(corpus)) == ["a"] * 2 + ["b"] * 2


def test_too_few_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one record for each of train and test"):
        ingest(tmp_path / "corpus", write_shards(tmp_path / "data", [[{"text": "one"}]]))


@pytest.mark.parametrize(
    ("params", "way_out"),
    [
        ({}, "--ingest.path"),
        ({"path": "a", "split": "train"}, "--ingest.max_train_records"),
        ({"dataset": "some/data", "split": "train[:9]"}, "--ingest.max_train_records"),
        ({"path": "a", "group_column": "author"}, "--ingest.group_column or --ingest.streaming.*--ingest.test_path"),
        ({"path": "a", "time_column": "date"}, "--ingest.time_column or --ingest.streaming"),
        ({"sources": [{"path": "a"}]}, "--ingest.sources or --ingest.streaming"),
    ],
)
def test_what_cannot_stream_is_refused_beforehand(params: dict[str, Any], way_out: str) -> None:
    with pytest.raises(ConfigError, match=way_out):
        IngestParams(streaming=True, **params)


def test_evenly_takes_items_at_equal_distances() -> None:
    assert evenly(range(10), None) == list(range(10))
    assert evenly(range(10), 5) == [0, 2, 4, 6, 8]
