"""Mixtures of sources: each split by itself, weighted, counted, and under one text column."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from components.contract.artifacts import Corpus
from components.contract.reports import BySplit
from components.ingest import Ingest, IngestParams
from foundation.errors import ConfigError, DataError, PipelineError
from tests.finished import finish


@pytest.fixture
def files(tmp_path: Path) -> Path:
    posts = [{"title": f"title {n}", "body": {"raw": [f"post {n}", None]}, "by": f"u{n % 9}"} for n in range(50)]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts))
    (tmp_path / "book.txt").write_text("".join(f"paragraph {n}\n\n" for n in range(20)))
    (tmp_path / "answers.csv").write_text("by,text\n" + "".join(f"u{n % 9},answer {n}\n" for n in range(40)))
    return tmp_path


def ingest(folder: Path, sources: list[Any], **params: Any) -> Corpus:
    out = folder / f"out{len(list(folder.iterdir()))}"
    out.mkdir()
    named = [
        str(folder / source) if isinstance(source, str) else {**source, "path": str(folder / source["path"])}
        for source in sources
    ]
    Ingest(IngestParams(sources=named, **params)).run(out)
    return finish(out, Corpus)


def test_train_records_stand_as_often_as_they_weigh_and_never_on_both_sides(files: Path) -> None:
    corpus = ingest(
        files,
        [
            {"path": "posts.jsonl", "text_column": "title,body.raw", "weight": 2.5},
            {"path": "book.txt", "name": "a book", "weight": 0.5},
        ],
    )
    train, test = corpus.split("train").to_list(), corpus.split("test").to_list()
    assert list(train[0]) == ["text", "source"]
    assert Counter(record["source"] for record in train) == {"posts": 100, "a book": 8}
    assert Counter(record["source"] for record in test) == {"posts": 10, "a book": 4}
    times = Counter(record["text"] for record in train if record["source"] == "posts")
    assert Counter(times.values()) == {2: 20, 3: 20}
    assert not set(times) & {record["text"] for record in test}
    assert all(text.startswith("title ") and " post " in text for text in times)
    posts, book = corpus.report.mixture
    assert (posts.records, posts.words) == (BySplit(100, 10), BySplit(400, 40))
    assert (book.name, book.weight, book.available, book.text_column) == ("a book", 0.5, 20, "text")
    assert "122 records (108 train, 14 test; posts 100 + 10, a book 8 + 4), 464 words in text" in corpus.summary
    assert any("posts stand in the train split 2.5 times" in sentence for sentence in corpus.report.anomalies)


def test_the_seed_defines_the_order_and_the_sources_are_in_the_key(files: Path) -> None:
    sources = [{"path": "posts.jsonl", "text_column": ["title"]}, {"path": "book.txt", "weight": 0.5}]
    one, same, other = (ingest(files, sources, seed=seed).split("train")["text"] for seed in (1, 1, 2))
    assert one == same != other
    named = [{**source, "path": str(files / str(source["path"]))} for source in sources]
    digests = Ingest(IngestParams(sources=named)).sources()
    assert list(digests) == ["posts: posts.jsonl", "book: book.txt"]
    (files / "book.txt").write_text("another\n\nbook\n\nof\n\nfour")
    assert Ingest(IngestParams(sources=named)).sources() != digests


def test_groups_are_those_of_all_sources_together(files: Path) -> None:
    sources = [{"path": "posts.jsonl", "text_column": "title"}, {"path": "answers.csv", "text_column": "text"}]
    corpus = ingest(files, sources, group_column="by")
    users = {
        name: {int(record["text"].split()[-1]) % 9 for record in corpus.split(name).to_list()}
        for name in ("train", "test")
    }
    assert not users["train"] & users["test"]
    assert len(users["train"] | users["test"]) == 9
    with pytest.raises(ConfigError, match="'by'"):
        ingest(files, [*sources, {"path": "book.txt"}], group_column="by")


def test_the_limits_hold_for_the_whole_and_names_are_told_apart(files: Path) -> None:
    (files / "more").mkdir()
    (files / "more/book.txt").write_text("".join(f"other {n}\n\n" for n in range(20)))
    corpus = ingest(files, ["book.txt", {"path": "more/book.txt"}], max_train_records=10)
    assert [source.name for source in corpus.report.mixture] == ["book", "book-2"]
    assert sum(source.records.train for source in corpus.report.mixture) == 10
    assert corpus.summary.startswith("18 of 40 records by ingest.max_train_records (10 of 32 train, 8 test; book ")


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([], r"at least one source"),
        ([{"pth": "a"}], r"'pth' in source 1.*nearest: path"),
        ([{"weight": 1}], r"must have a path or a dataset"),
        ([3], r"must have a path or a dataset"),
        ([" "], r"ingest\.path must name a file.*source 1"),
        ([{"path": "a", "dataset": "b"}], r"either a path or a dataset"),
        ([{"path": "a", "weight": 0}], r"weight of a source must be a number above 0"),
        ([{"path": "a", "weight": "2"}], r"weight of a source must be a number"),
        ([{"path": "a", "weight": float("nan")}], r"weight of a source"),
        ([{"path": "a", "weight": 1e9}], r"at most 1,000"),
        ([{"path": 3}], r"the path of a source must be text"),
        ([{"path": None}], r"must have a path or a dataset"),
        (
            [{"path": "a", "revision": "b"}],
            r"ingest\.revision must be given only with a Hub dataset.*of ingest.sources",
        ),
    ],
)
def test_wrong_sources_are_refused(sources: list[Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        IngestParams(sources=sources)


@pytest.mark.parametrize("params", [{"path": "a"}, {"dataset": "a/b"}, {"split": "train"}, {"columns": "text"}])
def test_what_belongs_to_one_source_is_refused_beside_several(params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"ingest\.{next(iter(params))} must be left out where ingest\.sources"):
        IngestParams(sources=[{"path": "b"}], **params)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([{"path": "book.txt"}, {"path": "*.txt"}], r"records of its own.*book\.txt in two"),
        (
            [{"path": "book.txt"}, {"path": "posts.jsonl", "text_column": "titel"}],
            r"'titel' \(of the source posts\).*its `text_column`",
        ),
        ([{"path": "book.txt"}, {"path": "gone.txt"}], r"gone\.txt"),
        ([{"path": "book.txt", "weight": 0.001}], r"at least one train record"),
    ],
)
def test_sources_that_cannot_be_mixed_are_refused_by_name(
    sources: list[dict[str, Any]], said: str, files: Path
) -> None:
    with pytest.raises(PipelineError, match=said):
        ingest(files, sources)


def test_a_source_that_is_too_small_is_named(files: Path) -> None:
    (files / "one.txt").write_text("only one")
    with pytest.raises(DataError, match=r"of the source one"):
        ingest(files, [{"path": "book.txt"}, {"path": "one.txt"}])


def test_ways_out_name_the_keys_of_the_source_and_the_options_of_all(files: Path) -> None:
    (files / "one.txt").write_text("one record")
    with pytest.raises(ConfigError, match=r"of the source gone.*correct its `path`"):
        Ingest(IngestParams(sources=[{"path": "gone.txt"}, {"path": str(files / "book.txt")}])).sources()
    with pytest.raises(DataError, match=r"of the source one.*its `test_path`"):
        ingest(files, [{"path": "book.txt"}, {"path": "one.txt"}])
    with pytest.raises(DataError, match=r"another --ingest\.test_size"):
        ingest(files, [{"path": "book.txt"}, {"path": "posts.jsonl", "text_column": "title"}], test_size=0.999)
