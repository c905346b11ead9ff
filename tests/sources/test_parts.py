"""Files named train, validation and test: which part each is, as `datasets` has it, and what ingest makes of them."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from datasets import get_dataset_split_names

from components.contract.artifacts import Corpus
from components.ingest import Ingest, IngestParams
from components.sources.parts import mixed, part_of, parts_of
from foundation.errors import ConfigError, DataError
from tests.finished import finish


def write(path: Path, count: int) -> None:
    """Records whose text tells their file and their place in it, in whatever format the name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [f"This is record {index} of {path.parent.name}/{path.name}, in words." for index in range(count)]
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path)
        return
    ending = path.name.removesuffix(".gz").rsplit(".", 1)[1]
    lines = {
        "txt": texts,
        "csv": ["text", *(f'"{text}"' for text in texts)],
        "jsonl": [json.dumps({"text": text}) for text in texts],
        "json": [json.dumps([{"text": text} for text in texts])],
    }[ending]
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def ingest(folder: Path, files: dict[str, int], glob: str = "", **params: Any) -> tuple[Corpus, list[str], list[str]]:
    """A corpus of files with so many records each, and the files from which its train and test records came."""
    for name, count in files.items():
        write(folder / "data" / name, count)
    (folder / "out").mkdir()
    Ingest(IngestParams(path=str(folder / "data" / glob), **params)).run(folder / "out")
    corpus = finish(folder / "out", Corpus)
    train, test = (
        [text.split(" of ")[1].removesuffix(", in words.") for text in corpus.split(name)["text"]]
        for name in ("train", "test")
    )
    return corpus, train, test


@pytest.mark.parametrize("ending", ["txt", "csv", "jsonl", "json", "csv.gz", "jsonl.gz", "parquet"])
def test_each_part_stays_what_it_is_in_every_format(ending: str, tmp_path: Path) -> None:
    files = {f"test.{ending}": 6, f"train.{ending}": 7, f"validation.{ending}": 3}

    corpus, train, test = ingest(tmp_path, files)

    assert set(train) == {f"data/train.{ending}"}
    assert set(test) == {f"data/test.{ending}"}
    assert corpus.split("train")["text"][0].startswith("This is record 0 of ")
    assert corpus.summary.startswith(
        "13 of 16 records (7 train, 6 test, as the files are named; 3 of validation left out), "
    )
    report = corpus.read_json("report.json")
    assert (
        "3 validation records were left out: the pipeline trains on train and measures on test" in report["anomalies"]
    )
    assert [file["part"] for file in report["source"]["files"]] == ["train", "validation", "test"]


@pytest.mark.parametrize(
    ("files", "train_files", "test_files"),
    [
        (["train/a.txt", "test/a.txt"], {"train/a.txt"}, {"test/a.txt"}),
        (
            [
                "data/train-00000-of-00002.parquet",
                "data/train-00001-of-00002.parquet",
                "data/test-00000-of-00001.parquet",
            ],
            {"data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"},
            {"data/test-00000-of-00001.parquet"},
        ),
        (["Train.csv", "Test.csv"], {"data/Train.csv"}, {"data/Test.csv"}),
        (["my-training.txt", "my_dev_2.txt"], {"data/my-training.txt"}, {"data/my_dev_2.txt"}),
        (["x/train.txt", "x/eval.txt", "y/train.txt"], {"x/train.txt", "y/train.txt"}, {"x/eval.txt"}),
        (["train/test.txt", "val/train.txt"], {"train/test.txt"}, {"val/train.txt"}),
        (["eval/train/a.txt", "eval/test/a.txt"], {"train/a.txt"}, {"test/a.txt"}),
    ],
)
def test_names_of_files_and_folders_tell_the_part(
    files: list[str], train_files: set[str], test_files: set[str], tmp_path: Path
) -> None:
    _, train, test = ingest(tmp_path, dict.fromkeys(files, 4))
    assert (set(train), set(test)) == (train_files, test_files)


def test_a_glob_keeps_the_parts_too(tmp_path: Path) -> None:
    corpus, train, test = ingest(tmp_path, {"train.txt": 4, "test.txt": 4, "test.csv": 1}, "*.txt")
    assert (set(train), set(test)) == ({"data/train.txt"}, {"data/test.txt"})
    assert "8 records (4 train, 4 test, as the files are named)" in corpus.summary


@pytest.mark.parametrize(
    "names",
    [
        ["train.txt", "test.txt", "validation.txt"],
        ["train-00000-of-00001.txt", "dev-00000-of-00001.txt"],
        ["my_train_file.txt", "my.valid.file.txt", "the testing 1.txt"],
        ["training/a.txt", "evaluation/b.txt"],
        ["deep/er/train_1/a.txt", "deep/er/eval_1/b.txt"],
        ["latest.txt", "contest.txt", "trainer.txt", "devel.txt"],
        ["train2.txt", "test2.txt"],
    ],
)
def test_the_library_finds_the_same_parts(names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names:
        write(tmp_path / "data" / name, 2)

    library = get_dataset_split_names(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))

    assert {part_of(name) or "train" for name in names} == set(library)


def test_validation_is_the_test_split_where_there_is_no_other(tmp_path: Path) -> None:
    corpus, _, test = ingest(tmp_path, {"train.jsonl": 6, "dev.jsonl": 5})
    assert set(test) == {"data/dev.jsonl"}
    assert corpus.summary.startswith("11 records (6 train, 5 test from the files named validation), ")


def test_a_file_without_a_part_beside_those_with_one_is_left_out_aloud(tmp_path: Path) -> None:
    corpus, train, _ = ingest(tmp_path, {"train.jsonl": 6, "test.jsonl": 5, "extra.jsonl": 4})
    assert set(train) == {"data/train.jsonl"}
    assert "as the files are named; extra.jsonl left out)" in corpus.summary
    assert [entry["what"] for entry in corpus.read_json("report.json")["skipped"]] == ["extra.jsonl"]


def test_what_is_mixed_is_said(tmp_path: Path) -> None:
    corpus, train, test = ingest(tmp_path, {"corpus.jsonl": 20, "test.jsonl": 20})
    assert set(train) | set(test) == {"data/corpus.jsonl", "data/test.jsonl"}
    assert "40 records (32 train, 8 test; test.jsonl mixed with the others)" in corpus.summary
    assert any("none is named train" in sentence for sentence in corpus.read_json("report.json")["anomalies"])


def test_files_named_test_that_are_trained_on_beside_a_test_path_are_said(tmp_path: Path) -> None:
    files = {"train.jsonl": 20, "test.jsonl": 5, "dev.jsonl": 5}
    corpus, train, _ = ingest(tmp_path, files, test_path=str(tmp_path / "data/dev.jsonl"))
    assert set(train) == {"data/train.jsonl", "data/test.jsonl"}
    assert "(25 train, 5 test, as the files are named; test.jsonl mixed with the others)" in corpus.summary


def test_what_is_left_out_beside_the_test_files_is_named(tmp_path: Path) -> None:
    write(tmp_path / "held_out/b.jsonl", 5)
    (tmp_path / "held_out/notes.pdf").write_bytes(b"%PDF-")
    corpus, _, _ = ingest(tmp_path, {"a.jsonl": 20}, test_path=str(tmp_path / "held_out"))
    assert [each["what"] for each in corpus.read_json("report.json")["skipped"]] == ["test_path/notes.pdf"]


@pytest.mark.parametrize("files", [{"train.jsonl": 10}, {"test.jsonl": 10}, {"test/a.jsonl": 5, "eval/a.jsonl": 5}])
def test_one_part_alone_is_a_corpus(files: dict[str, int], tmp_path: Path) -> None:
    corpus, _, _ = ingest(tmp_path, files)
    assert corpus.summary.startswith("10 records (8 train, 2 test), ")
    assert not mixed(list(files))
    assert not parts_of(list(files))


def test_a_single_file_is_a_corpus_whatever_its_name(tmp_path: Path) -> None:
    corpus, train, test = ingest(tmp_path, {"train.jsonl": 4, "test.jsonl": 10}, "test.jsonl")
    assert set(train + test) == {"data/test.jsonl"}
    assert corpus.summary.startswith("10 records (8 train, 2 test), ")


@pytest.mark.parametrize(
    ("split", "count"),
    [("train", 10), ("test", 6), ("train+validation+test", 20), ("validation[:3]+test[-2:]", 5), ("train[50%:]", 5)],
)
def test_a_split_takes_of_the_parts_what_it_names_and_splits_that_anew(split: str, count: int, tmp_path: Path) -> None:
    corpus, train, test = ingest(tmp_path, {"train.txt": 10, "validation.txt": 4, "test.txt": 6}, split=split)
    told = f"{count} of 20 records by ingest.split (" if count < 20 else "20 records ("
    assert corpus.summary.startswith(told)
    assert len(train) + len(test) == count
    named = {f"data/{part.split('[')[0]}.txt" for part in split.split("+")}
    assert set(train + test) == named


def test_a_split_that_the_files_lack_is_refused_with_those_they_have(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'trian' of train \(4 records\), test \(3 records\)"):
        ingest(tmp_path, {"train.txt": 4, "test.txt": 3}, split="trian")


def test_an_empty_part_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 in files named test.*--ingest\.split train\+test"):
        ingest(tmp_path, {"train.txt": 4, "test.txt": 0})


def test_records_on_both_sides_are_counted(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.txt").write_text("the same line\nanother line\n")
    (tmp_path / "data/test.txt").write_text("the same line\na third line\n")
    (tmp_path / "out").mkdir()
    Ingest(IngestParams(path=str(tmp_path / "data"))).run(tmp_path / "out")
    report = finish(tmp_path / "out", Corpus).read_json("report.json")
    assert "1 test record repeats a train record whole" in report["anomalies"]


def test_test_records_in_files_that_are_named_by_themselves(tmp_path: Path) -> None:
    files = {"a.jsonl": 6, "held_out.jsonl": 3, "elsewhere/test.jsonl": 2, "elsewhere/notes.jsonl": 4}
    named = os.path.relpath(tmp_path / "data/held_out.jsonl")

    corpus, train, test = ingest(tmp_path, files, test_path=named)

    assert set(train) == {"data/a.jsonl", "elsewhere/test.jsonl", "elsewhere/notes.jsonl"}
    assert test == ["data/held_out.jsonl"] * 3
    report = corpus.read_json("report.json")
    assert [file["name"] for file in report["source"]["files"]][-1] == "test_path/held_out.jsonl"
    assert [file["part"] for file in report["source"]["files"]] == ["train"] * 3 + ["test"]
    digests = Ingest(IngestParams(path=str(tmp_path / "data"), test_path=named)).sources()
    assert sorted(digests) == sorted(file["name"] for file in report["source"]["files"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"test_path": "a.jsonl"}, r"ingest\.test_path must name files, together with ingest\.path"),
        ({"path": "a.jsonl", "split": "train[:5]", "test_path": "b.jsonl"}, r"without ingest\.split"),
        ({"path": "DATA", "test_path": "DATA/*.jsonl"}, r"ingest\.path must name other files than ingest\.test_path"),
        ({"path": "DATA", "test_path": "DATA/gone.jsonl"}, r"ingest\.test_path must name an existing file"),
        ({"path": "DATA", "test_path": "DATA/b.bin"}, r"ingest\.test_path must name files that end in"),
        ({"path": "DATA", "test_path": "DATA/.hidden/c.csv"}, r"ingest\.path must name files of one format"),
    ],
)
def test_wrong_test_files_are_refused(params: dict[str, str], message: str, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", 3)
    write(tmp_path / ".hidden/c.csv", 3)
    (tmp_path / "b.bin").write_bytes(b"")
    named = {key: value.replace("DATA", str(tmp_path)) for key, value in params.items()}
    with pytest.raises(ConfigError, match=message):
        Ingest(IngestParams(**named)).sources()
