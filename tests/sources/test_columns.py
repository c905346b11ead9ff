"""Which columns are read, and those of odd types, which block nothing."""

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from components.ingest import IngestParams
from components.sources import Loaded, schema
from components.sources.arrow_types import common_schema
from components.sources.columns import Columns
from components.sources.embedded import EmbeddedCorpus
from components.sources.local import LocalFiles
from foundation.errors import ConfigError, DataError

RECORDS = [
    {"id": 1, "answers": [{"text": "a b", "score": 1}], "odd": {"x": 1}, "n": 1},
    {"id": 2, "answers": [{"text": "c", "score": 2}], "odd": ["y"], "n": None},
]


def load(path: Path, columns: tuple[str, ...] | None = None) -> Loaded:
    cache = path.parent / ".cache"
    cache.mkdir(exist_ok=True)
    return LocalFiles(str(path), columns=columns).load(cache)


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(records))
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_only_the_columns_asked_for_are_read(name: str, tmp_path: Path) -> None:
    records = RECORDS if name != "a.parquet" else [{**record, "odd": None} for record in RECORDS]
    path = write(tmp_path / name, records)
    loaded = load(path, ("answers.text", "id"))
    assert loaded.dataset.to_list() == [
        {"id": 1, "answers": [{"text": "a b"}]},
        {"id": 2, "answers": [{"text": "c"}]},
    ]
    assert loaded.anomalies == []
    assert load(path, ("answers",)).dataset[0] == {"answers": [{"text": "a b", "score": 1}]}
    for wrong in ("odds", "answers.txt", "id.x"):
        with pytest.raises(ConfigError, match=rf"ingest\.columns must name columns.*'{wrong}'"):
            load(path, ("id", wrong))


def test_columns_of_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("q_id,title,body\n1,a,b\n2,c,d\n")
    assert load(tmp_path / "a.csv", ("body", "title")).dataset.to_list() == [
        {"title": "a", "body": "b"},
        {"title": "c", "body": "d"},
    ]
    with pytest.raises(ConfigError, match=r"'boody', which isn't among q_id, title, body.*nearest: body"):
        load(tmp_path / "a.csv", ("boody",))


@pytest.mark.slow
def test_columns_of_the_embedded_corpus(tmp_path: Path) -> None:
    assert EmbeddedCorpus(columns=("title", "answers.text")).load(tmp_path).dataset.column_names == ["title", "answers"]


def test_columns_are_named_with_commas_or_as_a_list_and_those_that_split_are_read_too() -> None:
    assert IngestParams(columns="a, b.c").columns_to_read == ("a", "b.c")
    assert IngestParams(columns=["a", "b.c"], group_column="by").columns_to_read == ("a", "b.c", "by")
    assert IngestParams(group_column="by").columns_to_read is None


def test_names_with_dots_are_found_whole_first() -> None:
    record = {"a.b": 1, "a": {"b": 2, "c": 3}, "d": 4}
    assert Columns(("a.b",)).of_record(record) == {"a.b": 1, "a": {"b": 2}}


ODD: dict[str, tuple[pyarrow.Array, list[Any]]] = {
    "map": (
        pyarrow.array([[("k", 1)], None], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        [[{"key": "k", "value": 1}], None],
    ),
    "a map in a list of objects": (
        pyarrow.array(
            [[{"m": [("k", "v")]}], []],
            pyarrow.list_(pyarrow.struct([("m", pyarrow.map_(pyarrow.string(), pyarrow.string()))])),
        ),
        [[{"m": [{"key": "k", "value": "v"}]}], []],
    ),
    "decimal": (pyarrow.array([decimal.Decimal("1.5"), None]), [decimal.Decimal("1.5"), None]),
    "small decimal": (
        pyarrow.array([decimal.Decimal("1.5"), None], pyarrow.decimal32(5, 1)),
        [decimal.Decimal("1.5"), None],
    ),
    "dictionary": (pyarrow.array(["a", None]).dictionary_encode(), ["a", None]),
    "a dictionary in an object": (
        pyarrow.StructArray.from_arrays([pyarrow.array(["a", "b"]).dictionary_encode()], ["d"]),
        [{"d": "a"}, {"d": "b"}],
    ),
    "large string": (pyarrow.array(["a", None], pyarrow.large_string()), ["a", None]),
    "string view": (pyarrow.array(["a", None], pyarrow.string_view()), ["a", None]),
    "duration": (pyarrow.array([datetime.timedelta(1), None]), [datetime.timedelta(1), None]),
    "bytes of a length": (pyarrow.array([b"ab", None], pyarrow.binary(2)), [b"ab", None]),
    "uuid": (pyarrow.array([b"0123456789abcdef", None], pyarrow.uuid()), [b"0123456789abcdef", None]),
    "json": (pyarrow.array(['{"a": 1}', None], pyarrow.json_()), ['{"a": 1}', None]),
    "list view": (pyarrow.array([["a"], ["b", None]], pyarrow.list_view(pyarrow.string())), [["a"], ["b", None]]),
    "runs": (pyarrow.RunEndEncodedArray.from_arrays([2], ["a"]), ["a", "a"]),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_types_of_arrow_are_kept_as_plain_ones(kind: str, tmp_path: Path) -> None:
    values, expected = ODD[kind]
    table = pyarrow.table({"text": ["a b", "c"], "odd": values})
    with pyarrow.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    loaded = load(tmp_path / "a.arrow")
    assert loaded.dataset["text"] == ["a b", "c"]
    assert loaded.dataset["odd"] == expected
    assert loaded.anomalies == []


def test_a_map_in_parquet_blocks_nothing(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "m": ODD["map"][0]}), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").dataset["m"] == ODD["map"][1]
    assert load(tmp_path / "a.parquet", ("text",)).dataset.column_names == ["text"]


def test_a_column_that_no_plain_type_holds_is_left_out_aloud(tmp_path: Path) -> None:
    interval = pyarrow.array([(1, 2, 3)], pyarrow.month_day_nano_interval())
    union = pyarrow.UnionArray.from_sparse(
        pyarrow.array([0], pyarrow.int8()), [pyarrow.array([1]), pyarrow.array(["a"])]
    )
    table = pyarrow.table({"text": ["a"], "i": interval, "u": union})
    kept, notes = common_schema([table.schema], Columns())
    assert kept.names == ["text"]
    assert [note.split("`")[1] for note in notes] == ["i", "u"]
    assert all("was left out" in note for note in notes)
    with pytest.raises(DataError, match=r"must have a column that can be read.*`i` \(month_day_nano"):
        common_schema([table.select(["i"]).schema], Columns())


def test_files_that_disagree_keep_text_and_leave_out_what_cannot_be_joined(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", [{"text": "a", "n": 1, "tags": ["x"], "f": 1}])
    write(tmp_path / "2.parquet", [{"text": "b", "n": "two", "tags": "y", "f": 2.5}])
    cache = tmp_path / ".cache"
    cache.mkdir()
    loaded = LocalFiles(str(tmp_path)).load(cache)
    assert loaded.dataset.to_list() == [{"text": "a", "n": "1", "f": 1.0}, {"text": "b", "n": "two", "f": 2.5}]
    assert "`n` is int64 and string in different files: all were kept as text" in loaded.anomalies
    assert any(note.startswith("`tags` (") and "left out" in note for note in loaded.anomalies)


def test_records_whose_fields_change_late_are_the_same_as_if_all_were_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[dict[str, Any]] = [{"a": number, "t": None} for number in range(10)]
    records += [{"a": 1.5, "t": "x", "new": [1]}, {"a": 2, "t": ["y"], "new": ["z", "\ud800"]}]
    path = write(tmp_path / "a.jsonl", records)
    whole = load(path)
    expected = whole.dataset.to_list()
    monkeypatch.setattr(schema, "BATCH_RECORDS", 3)
    assert (batched := load(path)).dataset.to_list() == expected
    assert batched.anomalies == whole.anomalies
    assert batched.dataset["a"] == [*map(float, range(10)), 1.5, 2.0]
    assert batched.dataset["new"] == [None] * 10 + [["1"], ["z", "\N{REPLACEMENT CHARACTER}"]]
