"""The embedded corpus: its size, shape and order, and a Python that lacks its sources."""

from collections import Counter
from pathlib import Path

import pytest

from components.sources.embedded import EmbeddedCorpus
from foundation.errors import DataError


@pytest.fixture(scope="module")
def records() -> list[dict]:
    return list(EmbeddedCorpus().records(Counter()))


def test_it_is_large_enough_and_shaped_as_eli5(records: list[dict]) -> None:
    assert 6000 < len(records) < 10_000
    texts = [text for record in records for text in record["answers"]["text"]]
    assert 220_000 < sum(len(text.split()) for text in texts) < 400_000
    assert len(set(texts)) == len(texts)
    assert len({record["q_id"] for record in records}) == len(records)
    for record in records:
        lengths = {len(values) for values in record["answers"].values()}
        assert len(lengths) == 1
        assert lengths != {0}
        assert record["title"]


def test_it_is_prose(records: list[dict]) -> None:
    texts = [text for record in records for text in record["answers"]["text"]]
    assert not [text for text in texts if text.startswith(">>>") or "\n" in text]
    by_title = {record["title"]: record for record in records}
    assert "Return an iterator" in " ".join(by_title["calendar.Calendar.iterweekdays"]["answers"]["text"])
    assert 'assert: The "assert" statement' in by_title


def library(directory: Path) -> Path:
    (directory / "pydoc_data").mkdir()
    (directory / "pydoc_data" / "topics.py").write_text(
        "topics = {'b': 'Head\\n****\\n\\nA body of words.\\n', 'a': 'Some words before.\\n\\n>>> code\\n'}\n"
    )
    (directory / "test").mkdir()
    (directory / "test" / "x.py").write_text('"""Never to be read."""\n')
    (directory / "broken.py").write_text('"""Not parsed."""\nprint "x"\n')
    (directory / "module.py").write_text(
        '"""The module\n    explained."""\nraise SystemExit("read, but never run")\n'
        'class C:\n    """The module\n    explained."""\n'
        '    if x:\n        def f(self):\n            """Make it so."""\n'
    )
    return directory


def test_sections_and_docstrings_become_records_in_order_each_text_once(tmp_path: Path) -> None:
    skipped: Counter[str] = Counter()

    records = list(EmbeddedCorpus(library(tmp_path)).records(skipped))

    assert [(record["title"], record["answers"]["text"]) for record in records] == [
        ("a", ["Some words before."]),
        ("b: Head", ["A body of words."]),
        ("module", ["The module explained."]),
        ("module.C.f", ["Make it so."]),
    ]
    assert skipped == {
        "modules that can't be parsed": 1,
        "paragraphs of doctests": 1,
        "paragraphs that repeat an earlier one": 1,
    }


def test_its_digest_follows_the_bytes_and_names(tmp_path: Path) -> None:
    corpus = EmbeddedCorpus(library(tmp_path))
    before = corpus.digests()
    assert corpus.digests() == before
    (tmp_path / "module.py").rename(tmp_path / "renamed.py")
    assert corpus.digests() != before


def test_a_python_without_sources_is_refused_naming_the_package(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no pydoc_data/topics\.py in .*apt-get install libpython3-stdlib"):
        EmbeddedCorpus(tmp_path).digests()
    with pytest.raises(DataError, match="only 4 docstrings"):
        EmbeddedCorpus(library(tmp_path)).load(tmp_path)
