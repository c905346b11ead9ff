"""Local files: every format, records that differ, and every way a file can be wrong."""

import gzip
import json
import math
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.sources import Loaded, json_records
from components.sources.local import LocalFiles
from foundation.errors import ConfigError, DataError, PipelineError

ELI5 = [
    {
        "q_id": f"q{index}",
        "title": f"Why {index}?",
        "selftext": "",
        "category": "Biology",
        "subreddit": "explainlikeimfive",
        "answers": {
            "a_id": [f"a{index}", "b"],
            "text": [f"Because {index}.", "So."],
            "score": [index, 1],
            "text_urls": [[], [] if index < 3 else ["http://example.org"]],
        },
        "title_urls": [] if index < 2 else ["http://example.org"],
        "selftext_urls": [],
    }
    for index in range(5)
]


def load(path: Path | str, tmp_path: Path, **options: Any) -> Loaded:
    cache = tmp_path / "cache"
    cache.mkdir(exist_ok=True)
    return LocalFiles(str(path), **options).load(cache)


def write_lines(path: Path, records: list) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def write_every_format(directory: Path) -> dict[str, Path]:
    paths = {name: directory / name for name in ("a.jsonl", "b.json", "c.json", "d.json", "e.json.gz", "f.jsonl.gz")}
    write_lines(paths["a.jsonl"], ELI5)
    paths["b.json"].write_text(json.dumps(ELI5, indent=2), "utf-8")
    paths["c.json"].write_text(json.dumps({"data": ELI5}), "utf-8")
    paths["d.json"].write_text("\n" + json.dumps({"data": ELI5}, indent=1) + "\n", "utf-8")
    paths["e.json.gz"].write_bytes(gzip.compress(json.dumps(ELI5).encode("utf-8-sig")))
    paths["f.jsonl.gz"].write_bytes(gzip.compress("\n\n".join(map(json.dumps, ELI5)).encode("utf-8-sig")))
    paths["g.parquet"] = directory / "g.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ELI5), paths["g.parquet"])
    return paths


@pytest.mark.parametrize("name", ["a.jsonl", "b.json", "c.json", "d.json", "e.json.gz", "f.jsonl.gz", "g.parquet"])
def test_each_nested_format_gives_the_records_as_they_were(name: str, tmp_path: Path) -> None:
    loaded = load(write_every_format(tmp_path)[name], tmp_path)

    assert loaded.dataset.to_list() == ELI5
    assert loaded.facts["files"] == [{"name": name, "bytes": (tmp_path / name).stat().st_size, "records": 5}]


def test_records_that_differ_load_with_nulls_where_a_key_is_missing(tmp_path: Path) -> None:
    records = [
        {"title": None, "answers": {"text": [], "score": []}, "urls": [[]]},
        {"answers": {"text": ["one"], "extra": {"deep": [1]}}, "urls": [[], ["u"]]},
        {"title": "t", "answers": None, "late": 1.5, "urls": None},
        {"late": 2, "nothing": None, "none": [], "hollow": {}},
        {},
    ]

    dataset = load(write_lines(tmp_path / "a.jsonl", records), tmp_path).dataset

    assert dataset["title"] == [None, None, "t", None, None]
    assert dataset["late"] == [None, None, 1.5, 2.0, None]
    assert dataset["urls"] == [[[]], [[], ["u"]], None, None, None]
    assert dataset[1]["answers"] == {"text": ["one"], "score": None, "extra": {"deep": [1]}}
    assert dataset[2]["answers"] in (None, {"text": None, "score": None, "extra": None})
    dataset.train_test_split(0.2, seed=1).save_to_disk(tmp_path / "saved")


def test_scalars_of_several_types_become_text_and_are_reported(tmp_path: Path) -> None:
    records = [{"score": 1}, {"score": "N/A"}, {"score": True}, {"score": None}, {"score": 2**70}]

    loaded = load(write_lines(tmp_path / "a.jsonl", records), tmp_path)

    assert loaded.dataset["score"] == ["1", "N/A", "true", None, str(2**70)]
    assert [sentence for sentence in loaded.anomalies if "`score`" in sentence]


def test_nan_and_text_that_looks_like_a_date_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": NaN, "day": "2020-01-01"}\n{"x": 1, "day": "null"}\n')

    dataset = load(tmp_path / "a.jsonl", tmp_path).dataset

    assert math.isnan(dataset["x"][0])
    assert dataset["x"][1] == 1.0
    assert dataset["day"] == ["2020-01-01", "null"]


def test_half_a_surrogate_pair_is_replaced_and_reported(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"t": "a\\ud83d"}\n{"t": "\\ud83d\\ude00"}\n')

    loaded = load(tmp_path / "a.jsonl", tmp_path)

    assert loaded.dataset["t"] == ["a\N{REPLACEMENT CHARACTER}", "\N{GRINNING FACE}"]
    assert loaded.anomalies[0].startswith("1 records hold half a surrogate pair")


def test_a_text_among_lists_of_texts_is_a_list_of_one(tmp_path: Path) -> None:
    records: list = [
        {"a": {"text": ["x"]}, "n": [1]},
        {},
        {"a": {"text": "y"}, "n": 1.5},
        {"a": {"text": None}, "n": []},
    ]
    loaded = load(write_lines(tmp_path / "a.jsonl", records), tmp_path)

    assert loaded.dataset["a"] == [{"text": ["x"]}, None, {"text": ["y"]}, {"text": None}]
    assert loaded.dataset["n"] == [[1.0], None, [1.5], []]
    assert "`a.text` is text in" in loaded.anomalies[0]
    assert "line 3 and a list in" in loaded.anomalies[0]
    assert loaded.anomalies[0].endswith("line 1: each single value was read as a list")


@pytest.mark.parametrize("other", [{"k": "ü", "n": [1]}, [{"k": 1}], [[1], ["x"]], [1]])
def test_a_column_of_several_kinds_is_kept_as_json_text_and_blocks_nothing(other: object, tmp_path: Path) -> None:
    records = [{"text": "a b", "meta": other}, {"text": "c", "meta": "plain"}, {"text": "d", "meta": None}]
    loaded = load(write_lines(tmp_path / "a.jsonl", records), tmp_path)

    assert loaded.dataset["text"] == ["a b", "c", "d"]
    assert loaded.dataset["meta"] == [json.dumps(other, ensure_ascii=False), "plain", None]
    assert len(loaded.anomalies) == 1
    assert loaded.anomalies[0].endswith("what is no text was kept as JSON text")


def test_text_is_one_record_a_line_if_wanted_and_blank_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\n\n  \n two \u2028 three".encode())

    loaded = load(tmp_path / "a.txt", tmp_path, text_records="line")

    assert loaded.dataset.to_list() == [{"text": "one"}, {"text": " two \u2028 three"}]
    assert [entry["count"] for entry in loaded.skipped] == [2]


def test_csv_keeps_quoted_lines_and_every_cell_as_text(tmp_path: Path) -> None:
    long = "word " * 100_000
    (tmp_path / "a.csv").write_text(f'title,score\n"a ""b"",\nc",1\nNA\n\n{long},2\n')

    loaded = load(tmp_path / "a.csv", tmp_path)

    assert loaded.dataset["title"] == ['a "b",\nc', "NA", long]
    assert loaded.dataset["score"] == ["1", None, "2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', r"a\.jsonl, line 2: expecting value"),
        ("a.jsonl", b'{"a": 1}\n\n{"a": "x\n', r"line 3: unterminated string .* found '\"x'"),
        ("a.jsonl", b"hello\n", r"line 1: expecting value .* found 'hello'"),
        ("a.jsonl", b'{"a": 1}\n["b"]\n', r"line 2: a list: '\[\"b\"\]'"),
        ("a.jsonl", b'{"a": 1}\n3\n', r"line 2: a number: '3'"),
        ("a.jsonl", b'{"a": 1}\nnull\n', r"line 2: null"),
        ("a.jsonl", b'{"a": ' + b"[" * 100_000, r"line 1: .*recursion"),
        ("a.json", b'[\n{"a": 1},\n{"a" 1}\n]', r"line 3: expecting ':'"),
        ("a.json", b'[\n{"a": 1}\n{"a": 1}\n]', r"line 3: .* where ',' belongs"),
        ("a.json", b'[{"a": 1},\n 5]', r"line 2: a number: '5'"),
        ("a.json", b'[{"a": 1},\n{"a"', r"line 2: .* found the end of the (file|text)"),
        ("a.json", b'[{"a": 1}\n', r"line 2: the end of the file where ',' belongs"),
        ("a.json", b'[{"a": 1}]\n{"a": 2}', r"line 2: .* after the array's end"),
        ("a.json", b'{\n"a": 1,\n"b": oops}\n', r"line 3: expecting value"),
        ("a.jsonl", b'{"a": "caf\xe9"}\n', r"text in one encoding.*line 1: bytes e9 22 7d"),
        ("a.json", b'[{"a": 1},\n{"a": "caf\xe9"}]', r"text in one encoding.*line 2: bytes e9"),
        ("a.txt", "é\n".encode("utf-16")[:-1], r"text in one encoding.*line 1: bytes 0a"),
        ("a.csv", b"a,b\n1,2,3\n", r"line 2: 3 cells under 2 column names"),
        ("a.csv", b'a,b\n"1,2\n', r"line 2: unexpected end of data"),
        ("a.csv", b"a,b\n", r"must hold records\. Received: none in .*a\.csv \(4 bytes\)"),
        ("a.jsonl", b"", r"must hold records\. Received: none in .*a\.jsonl \(0 bytes\)"),
        ("a.json", b" \n\n", r"must hold records\. Received: none in"),
        ("a.json", b"[]", r"must hold records\. Received: none in"),
        ("a.json.gz", b"\x1f\x8b{", r"complete gzip data\. Received: .*a\.json\.gz"),
        ("a.json.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-12], r"complete gzip data.*ended before"),
        ("a.parquet", b"PAR1 nothing", r"sound Parquet data\. Received: .*a\.parquet, 12 bytes"),
        ("a.parquet", b"", r"sound Parquet data\. Received: .*a\.parquet, 0 bytes"),
    ],
)
def test_malformed_files_are_refused_naming_the_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=message):
        load(tmp_path / name, tmp_path)


def test_a_damaged_parquet_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": [f"some text {i}" for i in range(3000)]}), path)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)

    with pytest.raises(DataError, match="sound Parquet data"):
        load(path, tmp_path)


def test_parquet_files_are_joined_and_their_categories_become_text(tmp_path: Path) -> None:
    first = {"title": ["a"], "n": pyarrow.array(["x"]).dictionary_encode(), "answers": [{"text": ["t"]}]}
    pyarrow.parquet.write_table(pyarrow.table(first), tmp_path / "1.parquet")
    second = {"answers": [{"text": ["u"], "score": [1]}], "title": ["b"]}
    pyarrow.parquet.write_table(pyarrow.table(second), tmp_path / "2.parquet")

    dataset = load(tmp_path, tmp_path).dataset

    assert dataset["title"] == ["a", "b"]
    assert dataset["n"] == ["x", None]
    assert dataset["answers"] == [{"text": ["t"], "score": None}, {"text": ["u"], "score": [1]}]


def test_parquet_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "1.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"a": [["x"]]}), tmp_path / "2.parquet")

    with pytest.raises(DataError, match="must have a column that can be read"):
        load(tmp_path, tmp_path)


def test_a_directory_is_read_in_order_without_hidden_and_foreign_files(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("b/2.jsonl", "a/1.jsonl", ".git/x.jsonl", "a/.hidden.jsonl"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        write_lines(data / name, [{"from": name}])
    (data / "README.md").write_text("about")
    (data / "c.jsonl").write_text("")

    source = LocalFiles(str(data))
    loaded = load(data, tmp_path)

    assert list(source.digests()) == ["a/1.jsonl", "b/2.jsonl", "c.jsonl"]
    assert loaded.dataset["from"] == ["a/1.jsonl", "b/2.jsonl"]
    assert loaded.anomalies == ["c.jsonl holds no records"]
    assert [entry["what"] for entry in loaded.skipped] == ["README.md"]
    assert load(data / "*" / "*.jsonl", tmp_path).dataset["from"] == ["a/1.jsonl", "b/2.jsonl"]
    assert load(data / "**" / "2.jsonl", tmp_path).dataset["from"] == ["b/2.jsonl"]


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ([], "nothing.jsonl", r"existing file or directory.*nothing\.jsonl, which isn't there"),
        ([], "*.jsonl", r"where there are no files"),
        (["a.bin", ".b.json"], "", r"where there are a\.bin"),
        (["a.bin"], "a.bin", r"files that end in .*\.jsonl.*Received: .*a\.bin, which is neither"),
        (["a.csv", "b.json.gz", "c.csv.gz"], "", r"files of one format.*2 \.csv, 1 \.json.*'\*\.csv\*'"),
        (["a.TXT", "b/c.JSONL", "d.JSONL"], "", r"files of one format.*1 \.txt.*'\*\*/\*\.JSONL'"),
        ([], "https://x.org/a.txt", r"isn't there.*download it"),
        (["a.txt", "b.txt"], "a.txt,b.txt", r"isn't there.*or list them in --ingest\.sources"),
    ],
)
def test_paths_that_name_nothing_usable_are_refused(
    files: list, path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("\0" if name.endswith(".bin") else "{}")

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        LocalFiles(path or ".").digests()


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", ELI5)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything; a file of the kernel's that fails to be read will do
        path.unlink()
        path.symlink_to("/proc/self/mem")

    with pytest.raises(PipelineError, match=r"must be readable\. Received: .*a\.jsonl"):
        LocalFiles(str(path)).digests()
    with pytest.raises(PipelineError, match=r"must be readable\. Received: .*a\.jsonl"):
        load(path, tmp_path)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=2),
    max_leaves=8,
)


@given(records=st.lists(st.dictionaries(st.text("xy", min_size=1), JSON_VALUES), max_size=5), chunk=st.integers(1, 40))
@settings(deadline=None, max_examples=150)
def test_an_array_gives_the_same_items_whatever_the_buffer(
    records: list, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("array") / "a.json"
    path.write_text(json.dumps(records, ensure_ascii=False, indent=chunk % 3 or None), "utf-8")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_records, "CHUNK_CHARACTERS", chunk)
        assert [record for _, record in json_records.read_json_array(path)] == records
