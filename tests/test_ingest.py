"""The ingest step: which source, the split by record, and the report."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contract.artifacts import Corpus
from components.contract.reports import BySplit, as_plain
from components.ingest import Ingest, IngestParams
from components.sources import corpus_report
from foundation.errors import ConfigError, DataError
from tests.finished import finish

RECORDS = [
    {
        "q_id": str(index),
        "title": f"Why {index}?",
        "answers": {"text": [f"Because {index}.", "So it is."], "score": [1, 2]},
    }
    for index in range(50)
]


def write_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def ingest(out: Path, **params: Any) -> Corpus:
    out.mkdir()
    Ingest(IngestParams(**params)).run(out)
    return finish(out, Corpus)


def test_the_split_is_that_of_the_library_and_records_stay_nested(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", RECORDS)

    corpus = ingest(tmp_path / "out", path=str(path), test_size=0.3, seed=7)

    expected = Dataset.from_list(RECORDS).train_test_split(0.3, seed=7)
    assert corpus.split("train").to_list() == expected["train"].to_list()
    assert corpus.split("test").to_list() == expected["test"].to_list()
    assert corpus.summary == "50 records (35 train, 15 test), 250 words in answers.text"
    assert sorted(os.listdir(tmp_path / "out")) == ["dataset", "manifest.json", "report.json"]


def test_nothing_is_written_outside_the_step_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "library-cache")
    write_lines(tmp_path / "a.jsonl", RECORDS)

    ingest(tmp_path / "out", path=str(tmp_path / "*.jsonl"))

    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "out"]


def test_a_split_expression_chooses_local_records_too(tmp_path: Path) -> None:
    path = str(write_lines(tmp_path / "a.jsonl", RECORDS))

    first = ingest(tmp_path / "1", path=path, split="train[:10]")
    both = ingest(tmp_path / "2", path=path, split="train[:10%]+train[-3:]")

    assert sorted(int(q) for name in ("train", "test") for q in first.split(name)["q_id"]) == list(range(10))
    assert sorted(int(q) for name in ("train", "test") for q in both.split(name)["q_id"]) == [0, 1, 2, 3, 4, 47, 48, 49]
    assert first.summary == "10 of 50 records by ingest.split (8 train, 2 test), 50 words in answers.text"
    assert both.summary.startswith("8 of 50 records by ingest.split (6 train, 2 test)")
    assert ingest(tmp_path / "3", path=path, split="train").summary.startswith("50 records (40 train, 10 test), ")
    for wrong in ("validation", "train[60:70]", "train[:200%]"):
        with pytest.raises((ConfigError, DataError), match=r"ingest\.split|at least one record"):
            ingest(tmp_path / wrong, path=path, split=wrong)


def test_a_path_goes_before_the_dataset_of_a_configuration(tmp_path: Path) -> None:
    path = str(write_lines(tmp_path / "a.jsonl", RECORDS))
    corpus = ingest(tmp_path / "out", path=path, dataset="dany0407/eli5_category")
    assert len(corpus.split("train")) + len(corpus.split("test")) == len(RECORDS)


def test_too_few_records_for_both_sides_are_refused(tmp_path: Path) -> None:
    path = str(write_lines(tmp_path / "a.jsonl", RECORDS[:1]))
    with pytest.raises(DataError, match=r"at least one record for each of train and test\. Received: 1 with"):
        ingest(tmp_path / "one", path=path)
    path = str(write_lines(tmp_path / "a.jsonl", RECORDS[:3]))
    with pytest.raises(DataError, match=r"Received: 3 with test_size 0\.9"):
        ingest(tmp_path / "three", path=path, test_size=0.9)


def test_the_report_counts_what_is_missing_and_what_repeats(tmp_path: Path) -> None:
    texts: list[Any] = [["a b", "c"], ["a b c"], None, [], ["", "  "], ["x", None, "y"], ["é"], ["a b", "c"]]
    train = Dataset.from_list([{"q": str(i % 7), "answers": {"text": text}} for i, text in enumerate(texts)])
    test = Dataset.from_list([{"q": "0", "answers": {"text": ["a b", "c"]}}, {"q": "9", "answers": None}])
    test = test.cast(train.features)

    report = corpus_report.describe({"train": train, "test": test})

    assert report.records == BySplit(8, 2)
    assert report.duplicate_records == BySplit(1, 0)
    assert report.test_records_in_train == 1
    assert as_plain(report.columns["answers.text"]) == {
        "train": {
            "rows": 8,
            "null": 1,
            "empty": 2,
            "duplicates": 2,
            "characters": 5 * 3 + 3 + 1,
            "words": 3 * 3 + 2 + 1,
        },
        "test": {"rows": 2, "null": 1, "empty": 0, "duplicates": 0, "characters": 5, "words": 3},
        "test_in_train": 1,
    }
    assert list(report.columns) == ["q", "answers.text"]
    assert report.summary == (
        "10 records (8 train, 2 test), 15 words in answers.text; 1 of 2 test records stand in train, too"
    )
    assert "1 test record repeats a train record whole" in report.anomalies
    assert "3 train records have no text in answers.text" in report.anomalies
    assert "1 test record has no text in answers.text" in report.anomalies


def test_lists_of_objects_and_nested_lists_count_as_they_are_read() -> None:
    rows = [{"a": [{"text": "a b"}, {"text": None}], "n": [["c"], ["d e"]]}, {"a": None, "n": None}]
    splits = {"train": Dataset.from_list(rows), "test": Dataset.from_list(rows)}

    columns = corpus_report.describe(splits).columns

    assert {name: (column.train.words, column.train.null) for name, column in columns.items()} == {
        "a.text": (2, 1),
        "n": (3, 1),
    }


def test_equal_records_make_an_equal_corpus(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        path = write_lines(tmp_path / name / "a.jsonl", RECORDS)
        os.utime(path, (len(name), len(name)))
        ingest(tmp_path / name / "out", path=str(path))

    states = [(tmp_path / name / "out/dataset/train/state.json").read_text() for name in ("one", "other")]
    assert states[0] == states[1]
    files = [sorted((tmp_path / name / "out/dataset").rglob("*")) for name in ("one", "other")]
    assert [path.read_bytes() for path in files[0] if path.is_file()] == [
        path.read_bytes() for path in files[1] if path.is_file()
    ]


def test_texts_with_zeros_are_counted() -> None:
    """JSON's escapes and Parquet may hold them."""
    rows = {"t": ["a\0b", "c", None], "list": [["a", "\0"], ["b"], []]}
    report = corpus_report.describe(
        {"train": Dataset.from_dict(rows), "test": Dataset.from_dict({"t": ["x"], "list": [["y"]]})}
    )
    assert "1 train record holds NUL characters in t, which no text should have" in report.anomalies
    assert "1 train record holds NUL characters in list, which no text should have" in report.anomalies
    assert not [sentence for sentence in report.anomalies if "test record holds" in sentence]


@given(
    values=st.lists(st.none() | st.lists(st.none() | st.text("ab \n", max_size=3), max_size=3), min_size=4, max_size=30)
)
@settings(deadline=None, max_examples=60)
def test_the_counts_are_those_of_plain_python(values: list[Any]) -> None:
    from datasets import Features, List, Value

    dataset = Dataset.from_dict({"t": values}, features=Features({"t": List(Value("string"))}))
    splits = dataset.train_test_split(0.5, seed=1)

    column = corpus_report.describe(splits).columns["t"]

    joined = {
        name: [None if value is None else " ".join(item for item in value if item) for value in split["t"]]
        for name, split in splits.items()
    }
    filled = {name: [text for text in texts if text and text.strip()] for name, texts in joined.items()}
    for name in ("train", "test"):
        assert as_plain(getattr(column, name)) == {
            "rows": len(joined[name]),
            "null": joined[name].count(None),
            "empty": sum(text is not None and not text.strip() for text in joined[name]),
            "duplicates": len(filled[name]) - len(set(filled[name])),
            "characters": sum(map(len, filled[name])),
            "words": sum(len(text.split()) for text in filled[name]),
        }
    assert column.test_in_train == sum(text in set(filled["train"]) for text in filled["test"])


def test_the_key_follows_the_bytes_of_the_files(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", RECORDS)
    params = IngestParams(path=str(path))
    before = Ingest(params).sources()

    os.utime(path, (0, 0))
    assert Ingest(params).sources() == before
    write_lines(path, RECORDS[1:])
    assert Ingest(params).sources() != before


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"dataset": ""}, "ingest.dataset"),
        ({"dataset": "./data/a.jsonl"}, "ingest.dataset"),
        ({"dataset": "a/b/c"}, "ingest.dataset"),
        ({"path": " "}, "ingest.path"),
        ({"path": "a.jsonl", "revision": "main"}, "ingest.revision"),
        ({"config": "default"}, "ingest.config"),
        ({"split": "train[:5000"}, "ingest.split"),
        ({"split": ""}, "ingest.split"),
        ({"test_size": 0.0}, "ingest.test_size"),
        ({"test_size": 1}, "ingest.test_size"),
        ({"test_size": float("nan")}, "ingest.test_size"),
        ({"seed": -1}, "ingest.seed"),
    ],
)
def test_wrong_params_are_refused_naming_the_key(params: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        IngestParams(**params)
