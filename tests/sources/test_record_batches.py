"""Huge records: batches are bounded in bytes, and the corpus is the same however they are cut."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from components.contract.artifacts import Corpus
from components.ingest import Ingest, IngestParams
from components.sources import column_statistics, record_batches, schema, tables
from components.sources.readers import Place
from foundation.errors import DataError


def ingest(path, out):
    out.mkdir()
    Ingest(IngestParams(path=str(path))).run(out)
    return Corpus(out)


def batch_sizes(directory):
    """Records of each batch in the Arrow file of the train split."""
    (file,) = directory.glob("dataset/train/*.arrow")
    with pa.OSFile(str(file), "rb") as source, pa.ipc.open_stream(source) as reader:
        return [batch.num_rows for batch in reader]


@pytest.fixture
def records(tmp_path):
    """Forty records, of which every tenth is long."""
    rows = [{"id": number, "text": f"record {number} " * (300 if number % 10 == 0 else 2)} for number in range(40)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet", row_group_size=20)
    return rows


@pytest.mark.parametrize("name", ["a.jsonl", "b.parquet"])
def test_batches_of_few_bytes_make_the_same_corpus(name, records, tmp_path, monkeypatch):
    expected = ingest(tmp_path / name, tmp_path / "one")
    assert batch_sizes(expected.directory) == [32]
    for module in (record_batches, schema, tables):
        monkeypatch.setattr(module, "BATCH_BYTES", 5000)
    found = ingest(tmp_path / name, tmp_path / "many")
    assert 3 < len(batch_sizes(found.directory)) < 20
    for split in ("train", "test"):
        assert found.split(split)[:] == expected.split(split)[:]
    assert found.directory.joinpath("report.json").read_text() == expected.directory.joinpath("report.json").read_text()


def test_tables_have_the_rows_in_order_and_few_bytes(monkeypatch):
    monkeypatch.setattr(record_batches, "BATCH_BYTES", 100)
    texts = ["a" * size for size in (1, 2, 300, 90, 5, 5, 5, 70, 40, 1)]
    found = list(record_batches.tables_of(Dataset.from_dict({"text": texts}).select(range(9, -1, -1))))
    assert [text for table in found for text in table["text"].to_pylist()] == texts[::-1]
    assert all(table.nbytes <= 100 or table.num_rows == 1 for table in found)
    assert len(found) < 10


def test_a_parquet_file_of_long_rows_is_read_a_few_at_a_time(tmp_path, monkeypatch):
    pq.write_table(pa.table({"text": [f"{number} " + "x" * 1000 for number in range(100)]}), tmp_path / "a.parquet")
    monkeypatch.setattr(tables, "BATCH_BYTES", 10_000)
    sizes = [batch.num_rows for batch in tables.batches_of(tmp_path / "a.parquet", ["text"])]
    assert sum(sizes) == 100
    assert max(sizes) < 15


def test_a_record_that_arrow_cannot_hold_is_refused_with_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "LARGEST_RECORD", 1000)
    rows = [{"text": "é" * 300}, {"text": "é" * 600}]
    place = Place(tmp_path / "a.jsonl", 7)
    assert list(schema.batches(iter([(place, rows[0])]))) == [rows[:1]]
    with pytest.raises(DataError, match=r"at most 1,000 bytes.*a\.jsonl, line 7: about 1,2\d\d bytes.*divide"):
        list(schema.batches((place, row) for row in rows))


@given(st.text(st.sampled_from("ab \n\u3000é"), max_size=40))
def test_words_and_digests_of_slices_are_those_of_the_text(text):
    size = column_statistics.SLICE_CHARACTERS
    try:
        found = []
        for column_statistics.SLICE_CHARACTERS in (3, size):
            digests = column_statistics.Digests()
            digests.add(text)
            found.append((column_statistics.count_words(text), digests.content))
    finally:
        column_statistics.SLICE_CHARACTERS = size
    assert found == [(len(text.split()), found[1][1])] * 2


@pytest.mark.parametrize("gathered", [2000, 16000], ids=["some at once", "all at once"])
@pytest.mark.parametrize("records", [1, 999, 1001, 2500])
def test_rows_in_random_order_are_what_datasets_gives(records, gathered, monkeypatch):
    """Down to the bytes that Arrow writes of them, which a reader may have hashed."""
    monkeypatch.setattr(record_batches, "GATHERED_RECORDS", gathered)
    source = pa.table(
        {
            "text": [None if number % 7 == 0 else "é" * (number % 30) for number in range(2500)],
            "list": [None if number % 5 == 0 else ["a", None][: number % 3] for number in range(2500)],
            "object": [{"a": number if number % 3 else None, "b": number % 2 == 0} for number in range(2500)],
        }
    )
    batches = source.to_batches(max_chunksize=700)
    assert all(record_batches.is_plain(column) for batch in batches for column in batch.columns)
    rows = [*np.random.default_rng(1).integers(0, 2500, records - 1), 8]  # the last has text, and more stands after it
    dataset = Dataset(pa.Table.from_batches(batches)).select(rows)
    expected, found = pa.BufferOutputStream(), pa.BufferOutputStream()
    for sink, tables_ in (
        (expected, dataset.with_format("arrow").iter(batch_size=1000)),
        (found, record_batches.tables_of(dataset)),
    ):
        with pa.ipc.new_stream(sink, source.schema) as writer:
            for table in tables_:
                writer.write_table(table.combine_chunks().cast(source.schema))
    assert found.getvalue() == expected.getvalue()


def under_nulls(kind, filler):
    """Three values, of which the second is null and still has bytes."""
    array = pa.array([filler, filler, filler], kind)
    return pa.Array.from_buffers(kind, 3, [pa.py_buffer(b"\x05"), *array.buffers()[1:]])


@pytest.mark.parametrize("kind", [pa.int64(), pa.float32(), pa.bool_(), pa.string(), pa.date32()], ids=str)
def test_bytes_under_nulls_are_noticed(kind):
    """`take` would leave them out, and the corpus would have another digest."""
    filler = "text" if kind == pa.string() else 1.5 if kind == pa.float32() else 1
    array = under_nulls(kind, True if kind == pa.bool_() else filler)
    assert not record_batches.is_plain(array)
    assert not record_batches.is_plain(pa.StructArray.from_arrays([array], ["a"]))
    assert record_batches.is_plain(pa.array(array.to_pylist(), kind))
    assert record_batches.is_plain(array[2:])
