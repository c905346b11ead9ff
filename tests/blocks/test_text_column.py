"""Texts out of columns of every shape."""

from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st

from components.blocks.column_choice import choose_column
from components.blocks.text_column import TextReader
from components.blocks.text_fields import descend, resolve_column, text_columns
from components.contract.artifacts import Corpus
from foundation.errors import DataError


def corpus_of(directory: Path, table: pa.Table) -> Corpus:
    split = Dataset(table)
    DatasetDict(train=split, test=split).save_to_disk(directory / "dataset")
    return Corpus(directory)


def read(directory: Path, table: pa.Table, column: str) -> tuple[list[str], dict[str, int]]:
    reader = TextReader(corpus_of(directory, table), "train", column)
    texts = [text for batch in reader.batches(20) for text in batch]
    assert reader.records == table.num_rows
    return texts, reader.skipped


SHAPES = {
    "string": ("text", {"text": ["a b", "c"]}, ["a b", "c"]),
    "large string": ("text", {"text": pa.array(["a b", "c"], pa.large_string())}, ["a b", "c"]),
    "list": ("text", {"text": [["a", "b"], ["c"]]}, ["a b", "c"]),
    "large list": ("text", {"text": pa.array([["a", "b"], ["c"]], pa.large_list(pa.string()))}, ["a b", "c"]),
    "fixed list": ("text", {"text": pa.array([["a", "b"], ["c", "d"]], pa.list_(pa.string(), 2))}, ["a b", "c d"]),
    "struct": ("q.title", {"q": [{"title": "a"}, {"title": "b"}]}, ["a", "b"]),
    "struct of lists": (
        "answers.text",
        {"answers": [{"a_id": ["1", "2"], "text": ["a", "b"]}, {"a_id": ["3"], "text": ["c"]}]},
        ["a b", "c"],
    ),
    "list of structs": (
        "answers.text",
        {"answers": [[{"a_id": "1", "text": "a"}, {"a_id": "2", "text": "b"}], [{"a_id": "3", "text": "c"}]]},
        ["a b", "c"],
    ),
    "lists in a list of structs": ("a.t", {"a": [[{"t": ["a", "b"]}, {"t": ["c"]}], [{"t": ["d"]}]]}, ["a b c", "d"]),
    "three deep": ("a.b.c", {"a": [{"b": {"c": ["a", "b"]}}, {"b": {"c": ["c"]}}]}, ["a b", "c"]),
    "a name with a dot": ("answers.text", {"answers.text": ["a", "b"], "answers": [{"text": "x"}] * 2}, ["a", "b"]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_column_is_read(shape: str, tmp_path: Path) -> None:
    column, columns, expected = SHAPES[shape]
    assert read(tmp_path, pa.table(columns), column) == (expected, {"null": 0, "empty": 0})


@pytest.mark.parametrize("shape", ["struct of lists", "list of structs"])
def test_records_without_text_are_counted_by_reason(shape: str, tmp_path: Path) -> None:
    lists = [["a", None, "b"], None, [], [None], [" ", "\n"], [None, ""], ["", "c"]]
    if shape == "struct of lists":
        answers = [{"text": texts} for texts in lists] + [None]
    else:
        answers = [texts if texts is None else [{"text": text} for text in texts] for texts in lists] + [None]
    texts, skipped = read(tmp_path, pa.table({"answers": answers}), "answers.text")
    assert texts == ["a b", " c"]
    assert skipped == {"null": 3, "empty": 3}


def test_batches_hold_about_so_many_characters_and_every_text_whole(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, pa.table({"text": ["a" * 5, "b" * 5, "c" * 50, "d"]}))
    batches = list(TextReader(corpus, "train", "text").batches(10))
    assert batches == [["a" * 5, "b" * 5], ["c" * 50], ["d"]]


def test_a_corpus_held_in_memory_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of(tmp_path, pa.table({"text": ["a", "b"]}))
    monkeypatch.setattr("datasets.config.IN_MEMORY_MAX_SIZE", 1e9)
    assert not corpus.split("train").cache_files
    assert list(TextReader(corpus, "train", "text").batches(10)) == [["a", "b"]]


@pytest.mark.parametrize("values", [[None, None], ["", " "], [[], None]])
def test_a_split_without_any_text_is_refused(values: list, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at least one record with text.*2 records.*--preprocess\.text_column"):
        read(tmp_path, pa.table({"text": values}), "text")


SCHEMA = pa.table(
    {
        "q_id": ["1"],
        "number": [1],
        "answers": [{"a_id": ["1"], "score": [3], "text": ["a"]}],
        "posts": [[{"body": "b", "votes": 1}]],
    }
).schema


def test_the_columns_with_text_are_named_as_flatten_names_them() -> None:
    assert text_columns(SCHEMA) == ["q_id", "answers.a_id", "answers.text", "posts.body"]


@pytest.mark.parametrize("name", ["answer.text", "answers.texts", "answers", "answers.score", "number", "posts.votes"])
def test_a_column_without_text_is_refused_with_those_that_hold_it(name: str) -> None:
    with pytest.raises(DataError) as caught:
        resolve_column(SCHEMA, name)
    message = str(caught.value)
    assert repr(name) in message
    assert "--preprocess.text_column" in message
    assert "q_id, answers.a_id, answers.text, posts.body" in message
    if name.startswith("answer") and "text" in name:
        assert "for example to answers.text " in message


SENTENCE = "The river ran high, and everyone in town came down to look at it."
IDS = ["q1x", "b77", "0ff3", "k2"]
URLS = [f"https://example.org/a-long-address/with-many-words-in-it/{number}/and-more.html" for number in range(4)]
DATES = ["2024-01-01", "2024-01-02 10:00", "12/3/2024", "1.1.2024"]
TITLES = [
    "Why does the river run high?",
    "Who came down to look at it?",
    "What is it that runs so high?",
    "When was the river high?",
]


@pytest.mark.parametrize(
    ("columns", "named", "expected"),
    [
        ({"answers": [{"text": ["a"]}], "title": ["b"]}, "answers.text?", "answers.text"),
        ({"text": ["a"]}, "answers.text?", "text"),
        ({"body": ["a"], "n": [1]}, "answers.text?", "body"),
        ({"q": [{"deep": [["a"]]}], "n": [1]}, "answers.text?", "q.deep"),
        ({"title": [SENTENCE], "text": [SENTENCE]}, "body?", "text"),
        ({"body": [SENTENCE], "text": [""]}, "answers.text?", "body"),
        (
            {"id": IDS, "url": URLS, "when": DATES, "by": ["Ann", "Bo", "Cy", "Di"], "body": [SENTENCE] * 4},
            "x?",
            "body",
        ),
        ({"id": IDS, "body": ["今天的天气很好，我们去公园散步吧，好不好？大家都说好。"] * 4}, "x?", "body"),
        ({"id": IDS, "sequence": ["QVQLVESGGGLVQAGGSLRLSCAAS"] * 4}, "x?", "sequence"),
        ({"Question?": IDS, "b": IDS}, "Question?", "Question?"),
        ({"Question": IDS, "b": IDS}, "Question?", "Question"),
        ({"answers": [{"text": [1]}], "body": ["a"]}, "answers.text?", "body"),
        ({"answers": [{"text": [SENTENCE]}] * 4, "selftext": ["", "", SENTENCE, ""]}, "answers.text?", "answers.text"),
        ({"answers": [None] * 4, "text": [SENTENCE] * 4}, "answers.text?", "text"),
        ({"answers": [{"text": [None]}] * 4, "title": TITLES}, "answers.text?", "title"),
    ],
)
def test_a_column_that_may_give_way(columns: dict, named: str, expected: str, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, pa.table(columns))
    assert choose_column(corpus, named) == expected
    assert TextReader(corpus, "test", named).column == expected


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("named", ["answers.text?", "answers.text"])
def test_the_example_is_the_column_with_prose(order: int, named: str, tmp_path: Path) -> None:
    columns = {"q_id": IDS, "url": URLS, "category": ["Biology"] * 4, "title": TITLES, "body": [SENTENCE * 3] * 4}
    corpus = corpus_of(tmp_path, pa.table(dict(list(columns.items())[::order])))
    with pytest.raises(DataError, match=r"for example to body\b") as caught:
        choose_column(corpus, named)
    assert all(column in str(caught.value) for column in columns)


def test_the_preferred_column_is_not_taken_over_one_with_far_more_prose(tmp_path: Path) -> None:
    squad = {"context": [SENTENCE * 5] * 4, "question": [SENTENCE] * 4, "answers": [{"text": ["two words"]}] * 4}
    corpus = corpus_of(tmp_path, pa.table(squad))
    with pytest.raises(DataError, match=r"Received: context, question, answers.text. .*for example to context"):
        choose_column(corpus, "answers.text?")
    assert choose_column(corpus, "answers.text") == "answers.text"


def test_a_column_that_is_named_does_not_give_way(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, pa.table({"body": [SENTENCE]}))
    with pytest.raises(DataError, match=r"'answers.text'.*for example to body"):
        choose_column(corpus, "answers.text")


def test_where_nothing_is_prose_the_columns_are_listed(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, pa.table({"id": IDS, "name": ["Ann", "Bo", "Cy", "Di"]}))
    with pytest.raises(DataError, match=r"name, id \(and no x\).*for example to name"):
        choose_column(corpus, "x?")


def test_a_column_of_numbers_is_refused_with_its_type() -> None:
    with pytest.raises(
        DataError, match=r"strings or lists of strings. Received: 'answers.score' of type list<.*int64>"
    ):
        resolve_column(SCHEMA, "answers.score")


def test_a_corpus_without_any_text_says_so() -> None:
    with pytest.raises(DataError, match=r"must have a column of text.*Received: number \(int64\)"):
        resolve_column(pa.schema({"number": pa.int64()}), "text")


text = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=3))


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.lists(text, max_size=4)), max_size=8), st.integers(0, 3), st.booleans())
def test_descending_agrees_with_plain_python_on_any_slice(lists: list, start: int, as_structs: bool) -> None:
    if as_structs:
        column = pa.array(
            [None if texts is None else [{"t": item} for item in texts] for texts in lists],
            pa.list_(pa.struct({"t": pa.string()})),
        )
        path = ("c", "t")
    else:
        column, path = pa.array(lists, pa.list_(pa.string())), ("c",)
    batch = pa.record_batch({"c": column}).slice(start)
    values, records, null = descend(batch, path)
    lists = lists[start:]
    expected = [(row, item) for row, texts in enumerate(lists) for item in texts or [] if item is not None]
    assert list(zip(records.tolist(), values.to_pylist(), strict=True)) == expected
    assert null.tolist() == [texts is None or None in texts for texts in lists]


SEVERAL = {
    "title": ["One", None, "", "Four", None],
    "answers": [{"text": ["a", "b"]}, {"text": ["c"]}, {"text": [" "]}, None, {"text": None}],
    "a,b": ["x", "x", "x", "x", "x"],
}


@pytest.mark.parametrize(
    "named", ["title,answers.text", "title, answers.text", "title,answers.text?", "title,answers.text,title"]
)
def test_several_columns_are_joined_by_blanks_and_empty_ones_left_out(named: str, tmp_path: Path) -> None:
    texts, skipped = read(tmp_path, pa.table(SEVERAL), named)
    assert texts == ["One a b", "c", "Four"]
    assert skipped == {"null": 1, "empty": 1}


def test_the_order_of_the_names_is_that_of_the_texts_and_a_name_may_hold_a_comma(tmp_path: Path) -> None:
    assert read(tmp_path, pa.table(SEVERAL), "answers.text,title,a,b")[0][0] == "a b One x"


def test_one_of_several_columns_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, pa.table(SEVERAL))
    with pytest.raises(DataError, match=r"'titel'.*for example to title"):
        choose_column(corpus, "titel,answers.text")


NAMES = ["ann", "bob", "cyd", "dan"]
SCHEMAS = {
    "SQuAD": ({"id": IDS, "title": ["Normandy"] * 4, "context": [SENTENCE * 4] * 4, "question": TITLES}, "context"),
    "IMDB": ({"text": [SENTENCE * 5] * 4, "label": [0, 1, 0, 1]}, "text"),
    "AG News": ({"text": [SENTENCE] * 4, "label": [0, 1, 2, 3]}, "text"),
    "Amazon reviews": (
        {"review_id": IDS, "product_category": ["book"] * 4, "review_title": TITLES, "review_body": [SENTENCE] * 4},
        "review_body",
    ),
    "Stack Exchange": ({"Id": IDS, "Title": TITLES, "Body": [f"<p>{SENTENCE}</p>"] * 4, "Tags": ["<a>"] * 4}, "Body"),
    "HackerNews": ({"by": NAMES, "title": TITLES, "url": URLS, "text": [SENTENCE] * 4}, "text"),
    "Reddit": ({"author": NAMES, "title": TITLES, "selftext": [SENTENCE * 2] * 4, "permalink": URLS}, "selftext"),
    "Yelp": ({"business_id": IDS, "date": DATES, "text": [SENTENCE] * 4, "stars": [1, 2, 3, 4]}, "text"),
    "arXiv": (
        {"id": IDS, "authors": ["A. One, B. Two"] * 4, "title": TITLES, "abstract": [SENTENCE * 3] * 4, "date": DATES},
        "abstract",
    ),
    "ELI5": (
        {"q_id": IDS, "title": TITLES, "answers": [{"a_id": IDS[:1], "text": [SENTENCE * 3], "score": [1]}] * 4},
        "answers.text",
    ),
}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("name", SCHEMAS)
def test_the_text_of_public_data_sets_is_taken_or_proposed_first(name: str, order: int, tmp_path: Path) -> None:
    columns, expected = SCHEMAS[name]
    corpus = corpus_of(tmp_path, pa.table(dict(list(columns.items())[::order])))
    error = None
    try:
        found = choose_column(corpus, "another?")
    except DataError as caught:
        error = caught
    if error is None:
        assert found == expected
    else:
        assert error.received.startswith(expected)
        assert f"for example to {expected}" in error.remedy
        both = error.remedy.split(" or to ")[1].removesuffix(" for both")
        assert choose_column(corpus, both) == both
