"""Huge records: batches are bounded in bytes, and the corpus is the same however they are cut."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from components.contract.artifacts import Corpus
from components.ingest import Ingest, IngestParams
from components.sources import corpus_report, record_batches, schema, tables
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
    size = corpus_report.SLICE_CHARACTERS
    try:
        found = []
        for corpus_report.SLICE_CHARACTERS in (3, size):
            digests = corpus_report.Digests()
            digests.add(text)
            found.append((corpus_report.count_words(text), digests.content))
    finally:
        corpus_report.SLICE_CHARACTERS = size
    assert found == [(len(text.split()), found[1][1])] * 2
