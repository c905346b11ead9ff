"""Files as people have them: compressed in every usual way, other delimiters, other layouts, paragraphs and books."""

import bz2
import gzip
import json
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from datasets import Dataset, DatasetDict

from components.ingest import IngestParams
from components.sources import Loaded
from components.sources.local import LocalFiles
from foundation.errors import ConfigError, DataError

RECORDS = [{"id": str(number), "text": f"Line {number}, é.\nAnd more; so"} for number in range(5)]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


def load(path: Path, tmp_path: Path, **options: Any) -> Loaded:
    cache = tmp_path / ".cache"
    cache.mkdir(exist_ok=True)
    return LocalFiles(str(path), **options).load(cache)


def zipped(content: bytes, path: Path, *others: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner/a.jsonl", content)
        archive.writestr("__MACOSX/._a.jsonl", "of the system")
        for name in others:
            archive.writestr(name, content)


COMPRESS = {
    "a.jsonl.gz": gzip.compress,
    "a.jsonl.bz2": bz2.compress,
    "a.jsonl.xz": lzma.compress,
    "a.jsonl.zst": lambda data: pyarrow.compress(data, codec="zstd", asbytes=True),
    "a.ndjson": bytes,
}


@pytest.mark.parametrize("name", COMPRESS)
def test_each_compression_is_read_by_its_name_or_by_what_it_holds(name: str, tmp_path: Path) -> None:
    data = COMPRESS[name](LINES)
    (tmp_path / name).write_bytes(data)
    loaded = load(tmp_path / name, tmp_path)
    assert loaded.dataset.to_list() == RECORDS
    assert loaded.guesses == []

    (tmp_path / "misnamed").mkdir()
    (tmp_path / "misnamed/b.json").write_bytes(data)
    loaded = load(tmp_path / "misnamed/b.json", tmp_path)
    assert loaded.dataset.to_list() == RECORDS
    assert len(loaded.guesses) == (name != "a.ndjson")


@pytest.mark.parametrize("name", [name for name in COMPRESS if name != "a.ndjson"])
def test_compressed_data_that_is_cut_off_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    data = COMPRESS[name](LINES * 1000)
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"complete \w+ data\. Received: .*{name}"):
        load(tmp_path / name, tmp_path)


def test_an_archive_with_one_file_is_read_and_any_other_refused(tmp_path: Path) -> None:
    zipped(LINES, tmp_path / "one.zip")
    assert load(tmp_path / "one.zip", tmp_path).dataset.to_list() == RECORDS
    zipped(LINES, tmp_path / "two.jsonl.zip", "b.jsonl")
    with pytest.raises(DataError, match=r"exactly one file\. Received: .*two\.jsonl\.zip, which holds 2"):
        load(tmp_path / "two.jsonl.zip", tmp_path)
    (tmp_path / "damaged.jsonl.zip").write_bytes((tmp_path / "one.zip").read_bytes()[:60])
    with pytest.raises((ConfigError, DataError), match=r"damaged\.jsonl\.zip"):
        load(tmp_path / "damaged.jsonl.zip", tmp_path)
    zipped(LINES, tmp_path / "sheet.csv")  # as a spreadsheet that was renamed
    with pytest.raises(DataError, match="a ZIP archive"):
        load(tmp_path / "sheet.csv", tmp_path)


@pytest.mark.parametrize(
    ("name", "delimiter", "said"),
    [("a.csv", ",", []), ("a.csv", ";", ["semicolons"]), ("a.csv", "\t", ["tabs"]), ("a.csv", "|", ["vertical bars"]),
     ("a.tsv", "\t", [])],
)  # fmt: skip
def test_whatever_stands_between_cells(name: str, delimiter: str, said: list[str], tmp_path: Path) -> None:
    rows = [["id", "text"], ["1", f'"a{delimiter}b, c; d\ne"'], ["2", "x" * 200_000]]
    (tmp_path / name).write_text("\n".join(delimiter.join(row) for row in rows))
    loaded = load(tmp_path / name, tmp_path)
    assert loaded.dataset.to_list() == [
        {"id": "1", "text": f"a{delimiter}b, c; d\ne"},
        {"id": "2", "text": "x" * 200_000},
    ]
    assert loaded.guesses == [f"{name} was read with {what} between its cells" for what in said]


@pytest.mark.parametrize("content", ["text\na; b\nc; d\n", "a;b\n1;2;3\n1\n", "text\n", "a;b\n"])
def test_a_semicolon_in_a_text_divides_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    if content.count("\n") == 1:
        with pytest.raises(DataError, match="must hold records"):
            load(tmp_path / "a.csv", tmp_path)
    else:
        loaded = load(tmp_path / "a.csv", tmp_path)
        assert loaded.dataset.column_names == [content.split("\n")[0]]
        assert loaded.guesses == []


def test_a_book_is_read_by_paragraphs(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(b"\n\nIt was a dark\r\nand stormy night.\r\n \r\n\r\nChapter 2\n\n  Verse\n")
    loaded = load(tmp_path / "book.txt", tmp_path)
    assert loaded.dataset["text"] == ["It was a dark\nand stormy night.", "Chapter 2", "  Verse"]
    assert loaded.guesses == []
    assert len(load(tmp_path / "book.txt", tmp_path, text_records="line").dataset) == 4
    [whole] = load(tmp_path / "book.txt", tmp_path, text_records="file").dataset["text"]
    assert whole == "It was a dark\nand stormy night.\n \n\nChapter 2\n\n  Verse"


def test_text_without_blank_lines_is_read_by_lines_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n\n")
    loaded = load(tmp_path / "a.txt", tmp_path)
    assert loaded.dataset["text"] == ["one", "two"]
    assert loaded.guesses == ["a.txt has no blank lines between paragraphs, so each line was read as a record"]


def test_a_carriage_return_ends_a_line_of_text(tmp_path: Path) -> None:
    (tmp_path / "mac.txt").write_bytes(b"one\rtwo\r\rthree\r")
    assert load(tmp_path / "mac.txt", tmp_path).dataset["text"] == ["one\ntwo", "three"]


def test_what_is_a_record_is_one_of_three() -> None:
    with pytest.raises(ConfigError, match=r"ingest\.text_records must be one of line, paragraph, file"):
        IngestParams(path="a.txt", text_records="word")  # type: ignore[arg-type]


BY_COLUMN = {name: {str(row): record[name] for row, record in enumerate(RECORDS)} for name in ("id", "text")}
SPLIT = {"columns": ["id", "text"], "index": list(range(5)), "data": [[r["id"], r["text"]] for r in RECORDS]}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (BY_COLUMN, "columns of values by row, as pandas writes them"),
        (SPLIT, "columns and rows, as pandas writes them"),
        ({f"q{r['id']}": r for r in RECORDS}, "an object of objects, each of which was read as a record"),
    ],
)
def test_one_object_that_holds_the_records(value: Any, said: str, indent: int | None, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(value, indent=indent))
    loaded = load(tmp_path / "a.json", tmp_path)
    assert loaded.dataset.to_list() == RECORDS
    assert [guess.startswith(f"a.json holds {said}") for guess in loaded.guesses] == [True]


@pytest.mark.parametrize("record", [{"question": {"text": "a"}, "answers": {"text": ["b"]}}, {"x": {}, "y": {}}])
def test_one_record_of_objects_stays_one(record: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(record))
    assert len(load(tmp_path / "a.json", tmp_path).dataset) == 1


def test_objects_keyed_by_id_are_kept_as_json_with_one_remark(tmp_path: Path) -> None:
    records = [{"text": f"t{n}", "by": {f"u{n}": {"score": n, "é": None}, "all": 1}} for n in range(2000)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    loaded = load(tmp_path / "a.jsonl", tmp_path)
    assert [json.loads(by) for by in loaded.dataset["by"]] == [record["by"] for record in records]
    assert loaded.anomalies == [
        "`by` holds objects of more than 256 different fields, few each: each was kept as JSON text"
    ]


def test_many_fields_that_all_records_have_are_fields(tmp_path: Path) -> None:
    record = {"by": {f"field{n}": n for n in range(300)}}
    (tmp_path / "a.jsonl").write_text((json.dumps(record) + "\n") * 5)
    assert load(tmp_path / "a.jsonl", tmp_path).dataset.to_list() == [record] * 5


@pytest.mark.parametrize("depth", [58, 64, 300])
@pytest.mark.parametrize("wrap", [lambda value: {"a": value}, lambda value: [value]])
def test_what_is_nested_too_deep_is_refused_with_its_place(depth: int, wrap: Any, tmp_path: Path) -> None:
    value: Any = "text"
    for _ in range(depth):
        value = wrap(value)
    (tmp_path / "a.jsonl").write_text(json.dumps({"v": value}) + "\n")
    if depth < 60:
        assert load(tmp_path / "a.jsonl", tmp_path).dataset.to_list() == [{"v": value}]
    else:
        with pytest.raises(DataError, match=r"at most 60 lists and objects.*a\.jsonl, line 1"):
            load(tmp_path / "a.jsonl", tmp_path)


def test_what_datasets_saved_is_read_without_what_describes_it(tmp_path: Path) -> None:
    Dataset.from_list(RECORDS).save_to_disk(tmp_path / "one", num_shards=2)
    (tmp_path / "one/cache-0123.arrow").write_bytes(b"of a map")
    loaded = load(tmp_path / "one", tmp_path)
    assert loaded.dataset.to_list() == RECORDS
    assert loaded.skipped == []
    parts = {"train": Dataset.from_list(RECORDS[:3]), "test": Dataset.from_list(RECORDS[3:])}
    DatasetDict(parts).save_to_disk(tmp_path / "two")
    loaded = load(tmp_path / "two", tmp_path)
    assert loaded.parts == {"train": 3, "test": 2}
    assert loaded.dataset.to_list() == RECORDS
    next((tmp_path / "one").glob("data-*1-of-*.arrow")).unlink()
    with pytest.raises(DataError, match=r"must hold all of its files\. Received: no .*data-00001-of-00002\.arrow"):
        load(tmp_path / "one", tmp_path)


@pytest.mark.parametrize("name", ["a.arrow", "a.feather"])
def test_arrow_files_with_an_index_are_read_and_damaged_ones_refused(name: str, tmp_path: Path) -> None:
    table = pyarrow.Table.from_pylist(RECORDS)
    with pyarrow.OSFile(str(tmp_path / name), "wb") as file, pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    assert load(tmp_path / name, tmp_path).dataset.to_list() == RECORDS
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:300])
    with pytest.raises(DataError, match="sound Arrow data"):
        load(tmp_path / name, tmp_path)


TEXT = "A sentence of more than ten words, so that nobody takes it for a name."


@pytest.mark.parametrize(
    ("content", "first", "guess"),
    [
        (f"sep=;\r\nid;text\r\n1;{TEXT}\r\n", {"id": "1", "text": TEXT}, None),  # Excel's line for itself
        (f'id,text\r1,"{TEXT}"\r2,b\r', {"id": "1", "text": TEXT}, None),  # Excel's "CSV (Macintosh)"
        (f'id, text\n1, "{TEXT}"\n', {"id": "1", "text": TEXT}, None),
        ("id , text\n1,x\n", {"id": "1", "text": "x"}, None),
        (f"v1,v2,,\nham,{TEXT.replace(',', '')},,\n", {"v1": "ham", "Unnamed: 2": "", "Unnamed: 3": ""}, None),
        ("text,text,text.1\na,b,c\n", {"text": "a", "text.2": "b", "text.1": "c"}, "of the same name"),
        (f'id,text\n1,"a \\"b\\", {TEXT}"\n', {"id": "1", "text": f'a "b", {TEXT}'}, "a backslash before each quote"),
        (f'3,"{TEXT}"\n4,"other {TEXT}"\n', {"column_1": "3", "column_2": TEXT}, "has a record in its first row"),
        (f"{TEXT.replace(',', '')}\nanother\n", {"column_1": TEXT.replace(",", "")}, "has a record in its first row"),
        (f'when,"{TEXT}"\n2024,a\n', {"when": "2024", TEXT: "a"}, None),  # a survey's question is a name
    ],
)
def test_csv_files_are_read_in_the_forms_that_programs_give_them(
    content: str, first: dict[str, str], guess: str | None, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(content.encode())
    loaded = load(tmp_path / "a.csv", tmp_path)
    assert loaded.dataset[0].items() >= first.items()
    assert len(loaded.guesses) == (guess is not None)
    assert guess is None or guess in loaded.guesses[0]


def test_json_lines_may_end_by_carriage_returns(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES.replace(b"\n", b"\r"))
    assert load(tmp_path / "a.jsonl", tmp_path).dataset.to_list() == RECORDS


def test_lines_with_tabs_are_told_for_they_may_be_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1\tone\n2\ttwo\n")
    assert "if it is a table, rename it to .tsv" in load(tmp_path / "a.txt", tmp_path).guesses[0]


@pytest.mark.parametrize(
    ("content", "records", "guess"),
    [
        (json.dumps(["a", "b"]), [{"text": "a"}, {"text": "b"}], None),
        ('"a"\n"b"\n', [{"text": "a"}, {"text": "b"}], None),
        ('{"a": 1}{"a": 2}', [{"a": 1}, {"a": 2}], None),
        ('{\n "a": 1\n}\n{\n "a": 2\n}\n', [{"a": 1}, {"a": 2}], None),  # as jq prints them
        ('{"0": "a", "1": "b"}', [{"text": "a"}, {"text": "b"}], "texts by their names"),
        ('{"text": ["a", "b"], "n": [1, 2]}', [{"text": "a", "n": 1}, {"text": "b", "n": 2}], "columns of values"),
        ('{"text": ["a", "b"], "n": [1]}', [{"text": ["a", "b"], "n": [1]}], None),
        ('{"title": "a", "text": "b"}', [{"title": "a", "text": "b"}], None),
        ('{"version": "v2.0", "data": [{"a": 1}, {"a": 2}]}', [{"a": 1}, {"a": 2}], "its records in `data`"),
        ('{"title": "t", "comments": [{"a": 1}]}', [{"title": "t", "comments": [{"a": 1}]}], None),
        (json.dumps({"text": "a" * 999, "data": [{"a": 1}]}), [{"text": "a" * 999, "data": [{"a": 1}]}], None),
    ],
)
def test_json_is_read_in_the_forms_that_programs_give_it(
    content: str, records: list[dict[str, Any]], guess: str | None, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(content)
    loaded = load(tmp_path / "a.json", tmp_path)
    assert loaded.dataset.to_list() == records
    assert [guess in one for one in loaded.guesses if guess] == ([True] if guess else [])


def test_a_tar_archive_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(LINES)
    with tarfile.open(tmp_path / "a.txt", "w:gz") as archive:
        archive.add(tmp_path / "b.jsonl", "b.jsonl")
    with pytest.raises(DataError, match=r"a tar archive.*tar -xf"):
        load(tmp_path / "a.txt", tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.jsonl", "a.parquet", "a.arrow"])
def test_a_pointer_of_git_lfs_is_no_corpus(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(DataError, match=r"a pointer of Git LFS.*lfs pull"):
        load(tmp_path / name, tmp_path)


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_texts_that_begin_with_a_lone_quote_are_not_joined(name: str, tmp_path: Path) -> None:
    between = "\t" if name == "a.tsv" else ","
    (tmp_path / name).write_text(f"id{between}text\n" + "".join(f'{n}{between}"Text {n} he said\n' for n in range(30)))
    with pytest.raises(DataError, match="line 3"):
        load(tmp_path / name, tmp_path)
