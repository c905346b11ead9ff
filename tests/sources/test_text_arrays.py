"""Words, characters and keys of texts in Arrow's arrays are those of Python's strings."""

import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.sources import column_statistics, corpus_report, text_arrays
from components.sources.text_arrays import Texts

SPACES = "".join(filter(str.isspace, map(chr, range(sys.maxunicode + 1))))
TEXTS = st.text(st.sampled_from("ab\0é中😀\u200b\u2060" + SPACES) | st.characters(codec="utf-8"), max_size=40)


def described(counts, digests):
    return counts, sorted(map(bytes, digests.array().to_pylist()))


@given(st.lists(st.none() | TEXTS, max_size=12), st.sampled_from([pa.string(), pa.large_string()]), st.integers(0, 3))
def test_counts_and_keys_of_an_array_are_those_of_its_values(values, kind, skipped):
    array = pa.array(values, kind)[skipped:]
    at_once, one_by_one = column_statistics.ColumnStatistics(), column_statistics.ColumnStatistics()
    keys = at_once.add_texts(array)
    one_by_one.add(values[skipped:])
    assert described(at_once.counts(), at_once.digests) == described(one_by_one.counts(), one_by_one.digests)
    assert keys.tolist() == column_statistics.keys_of_values(values[skipped:], True).tolist()


def test_every_character_is_white_space_or_not_as_python_says():
    every = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    counts = text_arrays.count(Texts.of(pa.array(every)))
    assert [character for character, filled in zip(every, counts.filled, strict=True) if not filled] == list(SPACES)
    assert counts.words == len(every) - len(SPACES)


VALUES = {
    "int": [0, 5, -5, None, 5, 0, None],
    "float": [0.0, -0.0, float("nan"), None, 1.5, -float("nan"), 0.0],
    "bool": [True, False, None, True, None, False, True],
    "list": [["a"], [], None, ["a"], ["a", None], None, []],
    "date": [None, "None", "", "a", "a", None, "a\0"],
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("counted_bytes", [1, 1 << 22], ids=["one by one", "at once"])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_records_repeat_where_python_writes_them_alike(name, counted_bytes, size, monkeypatch):
    """However they are cut into batches, and whether a batch has nulls or not."""
    monkeypatch.setattr(corpus_report, "COUNTED_BYTES", counted_bytes)
    values = VALUES[name]
    table = pa.table({name: values, "same": ["a text of more than 16 bytes"] * len(values)})
    for columns in ([name], [name, "same"]):
        chosen, found = table.select(columns), column_statistics.Digests()
        texts = {(column,): column_statistics.ColumnStatistics() for column in columns if column in ("date", "same")}
        for start in range(0, len(values), size):
            corpus_report.add_records(chosen.slice(start, size).combine_chunks(), texts, found)
        assert len(found.keys()) == len(values)
        assert found.repeated() == len(values) - len(set(map(repr, values)))
