"""Files that several processes read, beside the same files read by one."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import components.sources.local
from components.contract.manifest import describe_files
from components.ingest import Ingest, IngestParams
from components.sources.shared_reading import divided
from foundation.errors import DataError
from tests.pickling_workers import PicklingWorkers

VALUES = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.integers(-9, 9),
    st.just(2**70),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.booleans(),
    st.lists(st.one_of(st.text(max_size=3), st.integers(0, 9)), max_size=2),
    st.dictionaries(st.sampled_from("xyz"), st.one_of(st.none(), st.text(max_size=3), st.integers(0, 9)), max_size=2),
    st.just("half \ud83d"),
)
RECORDS = st.lists(st.dictionaries(st.sampled_from(["text", "a", "b"]), VALUES, max_size=3), max_size=4)


@pytest.fixture(autouse=True, scope="module")
def small_files_are_shared():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components.sources.local, "LEAST_SHARED_BYTES", 0)
        yield


def both(directory: Path, path: str, workers: PicklingWorkers, **params: Any) -> None:
    """Ingests a path alone and with workers, and compares every file that comes out."""
    step = Ingest(IngestParams(path=path, **params))
    for name in ("alone", "shared"):
        (directory / name).mkdir()
    step.run(directory / "alone")
    step.run_with(directory / "shared", workers)
    assert describe_files(directory / "shared") == describe_files(directory / "alone")


@settings(max_examples=25, deadline=None)
@given(files=st.lists(RECORDS, min_size=2, max_size=4))
def test_json_of_any_shape(files: list[list[dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        enough = [{"text": f"record {number}"} for number in range(6)]
        for number, records in enumerate([enough, *files]):
            (directory / f"{number}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
        workers = PicklingWorkers(2)
        both(directory, f"{directory}/*.jsonl", workers)
        assert len(workers.items) >= 1 + len(files)


def test_tables_of_objects_by_their_ids(tmp_path: Path) -> None:
    for number in range(3):
        records = [
            {"text": "words", "answers": {f"id{number}-{record}-{each}": each for each in range(40)}}
            for record in range(5)
        ]
        (tmp_path / f"{number}.jsonl").write_text("\n".join(map(json.dumps, records)))
    both(tmp_path, f"{tmp_path}/*.jsonl", PicklingWorkers(2))
    assert "more than 256 different fields" in (tmp_path / "shared" / "report.json").read_text()


@pytest.mark.parametrize("columns", [None, "text"])
def test_parquet_files_with_other_columns(tmp_path: Path, columns: str | None) -> None:
    for number in range(3):
        rows = {"text": [f"row {number} {row}" for row in range(50)], "extra" if number else "n": list(range(50))}
        pyarrow.parquet.write_table(pa.table(rows), tmp_path / f"{number}.parquet")
    workers = PicklingWorkers(2)
    both(tmp_path, f"{tmp_path}/*.parquet", workers, columns=columns)
    assert len(workers.items) == 3


def test_text_files_with_blank_lines_and_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n\nthree\n")
    (tmp_path / "b.txt").write_text("\n\n")
    (tmp_path / "c.txt").write_text("four\n\nfive\n\n\nsix\n")
    both(tmp_path, f"{tmp_path}/*.txt", PicklingWorkers(2))


def test_a_malformed_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "three"}\n{"text": \n')
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"b\.jsonl, line 2"):
        Ingest(IngestParams(path=str(tmp_path))).run_with(tmp_path / "out", PicklingWorkers(2))


@given(rows=st.lists(st.integers(0, 5), min_size=1, max_size=6), begins=st.sets(st.integers(1, 20)))
def test_rows_are_divided_anew(rows: list[int], begins: set[int]) -> None:
    schema = pa.schema([("n", pa.int64())])
    total = sum(rows)
    begins = {begin for begin in begins if begin < total}
    numbers = iter(range(total))
    batches = [pa.record_batch([[next(numbers) for _ in range(count)]], schema=schema) for count in rows]
    found = list(divided((batch for batch in batches if batch.num_rows), sorted(begins)))
    assert [row for batch in found for row in batch.column(0).to_pylist()] == list(range(total))
    assert [batch.column(0)[0].as_py() for batch in found] == ([0, *sorted(begins)] if total else [])


def test_batches_across_files(tmp_path: Path) -> None:
    for number, count in enumerate((700, 1500, 3, 900)):
        records = [{"text": f"file {number}, record {record}", "n": record} for record in range(count)]
        (tmp_path / f"{number}.jsonl").write_text("\n".join(map(json.dumps, records)))
    both(tmp_path, f"{tmp_path}/*.jsonl", PicklingWorkers(2))
