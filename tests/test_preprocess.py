"""The preprocess step against the guide's own code, and what it refuses."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Features, List, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

import components.blocks.encoding
import components.blocks.shared_texts
import components.blocks.writer
from components.blocks.encoding import encode, untruncated
from components.blocks.params import PreprocessParams
from components.contract.artifacts import Blocks, Corpus, Tokenizer
from components.contract.manifest import describe_files
from components.preprocess import Preprocess
from components.tokenizer import PrepareTokenizer, TokenizerParams
from foundation.errors import ConfigError, DataError
from tests.finished import finish
from tests.pickling_workers import PicklingWorkers

FEATURES = Features({"q_id": Value("string"), "answers": {"text": List(Value("string"))}})
TEXTS = [
    ["The quick brown fox jumps over the lazy dog.", "It didn't mind at all."],
    ["A literal <mask> and an </s> inside a text, <s>too</s>."],
    ["  leading and trailing blanks  ", "", "tabs\tand\nnew lines\n\n"],
    ["naïve café, 日本語, 😀 emoji, NUL \0 and ZWJ \u200d."],
    ["One very long record: " + "word after word after word " * 400],
    [f"Record number {number} " + "says something short. " * (number % 7) for number in range(40)],
]


def corpus_of(directory: Path, train: list[Any], test: list[Any] | None = None) -> Corpus:
    """Records whose `answers.text` are the given lists; without test records, the split repeats train's."""
    splits = {
        name: Dataset.from_dict(
            {"q_id": [str(number) for number in range(len(lists))], "answers": [{"text": texts} for texts in lists]},
            features=FEATURES,
        )
        for name, lists in (("train", train), ("test", train if test is None else test))
    }
    DatasetDict(splits).save_to_disk(directory / "dataset")
    return Corpus(directory)


def run(corpus: Corpus, tokenizer: Tokenizer, out: Path, block_size: int = 16) -> Blocks:
    out.mkdir()
    Preprocess(corpus, tokenizer, PreprocessParams(block_size=block_size)).run(out)
    return finish(out, Blocks)


def ids_of(blocks: Blocks, split: str = "train") -> list[list[int]]:
    return blocks.split(split)[:]["input_ids"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("corpus"), [texts for _ in range(30) for texts in TEXTS], TEXTS)


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    PrepareTokenizer(corpus, "answers.text", TokenizerParams(vocab_size=400)).run(directory)
    return finish(directory, Tokenizer)


def guide(
    corpus: Corpus, split: str, tokenizer: PreTrainedTokenizerFast, block_size: int, batch_size: int | None
) -> Iterator[list[int]]:
    """The blocks of the guide's two `map` calls, which drop a remainder in every batch."""

    def preprocess_function(examples: Any) -> Any:
        return tokenizer([" ".join(texts) for texts in examples["answers.text"]])

    def group_texts(examples: Any) -> Any:
        concatenated = {name: [item for row in examples[name] for item in row] for name in examples}
        total = len(concatenated["input_ids"]) // block_size * block_size
        return {
            name: [row[i : i + block_size] for i in range(0, total, block_size)] for name, row in concatenated.items()
        }

    records = corpus.split(split).flatten()
    options: dict[str, Any] = {"batched": True, "batch_size": batch_size, "load_from_cache_file": False}
    tokenized = records.map(preprocess_function, remove_columns=records.column_names, **options)
    yield from tokenized.map(group_texts, **options)["input_ids"]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("block_size", [16, 128])
def test_blocks_are_the_guides_with_all_records_in_one_batch(
    corpus: Corpus, tokenizer: Tokenizer, split: str, block_size: int, tmp_path: Path
) -> None:
    blocks = run(corpus, tokenizer, tmp_path / "out", block_size)
    assert ids_of(blocks, split) == list(guide(corpus, split, tokenizer.load(), block_size, None))


def test_only_the_guides_dropped_remainders_are_kept(corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    """With small batches the guide loses a remainder a batch; ours is the stream cut once."""
    load = tokenizer.load()
    texts = [" ".join(record) for record in corpus.split("train").flatten()["answers.text"]]
    records = load(texts)["input_ids"]
    batches = [sum(records[start : start + 7], []) for start in range(0, len(records), 7)]  # noqa: RUF017
    assert list(guide(corpus, "train", load, 16, 7)) == [block for batch in batches for block in cut(batch)]
    assert ids_of(run(corpus, tokenizer, tmp_path / "out")) == cut(sum(batches, []))  # noqa: RUF017


def cut(tokens: list[int], block_size: int = 16) -> list[list[int]]:
    return [tokens[start : start + block_size] for start in range(0, len(tokens) - block_size + 1, block_size)]


def test_the_report_accounts_for_every_record_and_token(tokenizer: Tokenizer, tmp_path: Path) -> None:
    lists = [["a text of some length"], None, [], [None], [" \n"], ["another one", None, "in two parts"]]
    corpus = corpus_of(tmp_path / "corpus", lists * 10)
    blocks = run(corpus, tokenizer, tmp_path / "out", 8)
    load = tokenizer.load()
    tokens = 10 * sum(len(load(text)["input_ids"]) for text in ("a text of some length", "another one in two parts"))
    assert blocks.read_json("report.json")["splits"]["train"] == {
        "records": 60,
        "skipped": {"null": 20, "empty": 20},
        "tokens": tokens,
        "blocks": tokens // 8,
        "tokens_kept": tokens // 8 * 8,
        "tokens_dropped": tokens % 8,
    }
    assert blocks.block_size == 8
    assert blocks.split("train").num_rows == tokens // 8
    assert "80 records without text skipped" in blocks.summary


def test_the_folder_is_an_ordinary_dataset_dict(corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    blocks = run(corpus, tokenizer, tmp_path / "out")
    loaded = DatasetDict.load_from_disk(blocks.directory / "dataset")
    assert set(loaded) == {"train", "test"}
    assert loaded["train"].features == {
        "input_ids": List(Value("int32"), length=16),
        "attention_mask": List(Value("int8"), length=16),
    }
    assert np.all(loaded["train"].with_format("numpy")[:]["attention_mask"] == 1)


def test_running_twice_gives_equal_files(corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    first, second = (run(corpus, tokenizer, tmp_path / name) for name in ("first", "second"))
    assert describe_files(first.directory) == describe_files(second.directory)


def test_batch_limits_do_not_change_the_blocks(
    corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components.blocks.writer, "TOKENS_A_BATCH", 160)
    monkeypatch.setattr(components.blocks.writer, "RECORDS_A_BATCH", 3)
    expected = run(corpus, tokenizer, tmp_path / "ordinary")
    monkeypatch.setattr(components.blocks.shared_texts, "CHARACTERS_A_BATCH", 100)
    monkeypatch.setattr(components.blocks.encoding, "BATCHES_AT_ONCE", 3)
    small = run(corpus, tokenizer, tmp_path / "small")
    assert describe_files(small.directory) == describe_files(expected.directory)
    assert len(expected.split("train").data.to_batches()) > 3


@pytest.mark.parametrize("packing", ["concatenate", "documents", "packed"])
def test_workers_make_the_same_files(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: Any
) -> None:
    texts = [*TEXTS, [None], ["  "], *([f"Another text, {number}."] for number in range(50)), [""]]
    corpus = finish(corpus_of(tmp_path / "corpus", texts, texts[:4]).directory, Corpus)
    monkeypatch.setattr(components.blocks.shared_texts, "SHARD_BYTES", 500)
    params = PreprocessParams(block_size=16, packing=packing)
    (tmp_path / "alone").mkdir()
    (tmp_path / "shared").mkdir()
    Preprocess(corpus, tokenizer, params).run(tmp_path / "alone")
    workers = PicklingWorkers(2)
    Preprocess(corpus, tokenizer, params).run_with(tmp_path / "shared", workers)
    assert describe_files(tmp_path / "shared") == describe_files(tmp_path / "alone")
    assert len(workers.items) > 4
    assert json.loads((tmp_path / "shared" / "report.json").read_text())["splits"]["train"]["skipped"]


def test_workers_find_no_text(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components.blocks.shared_texts, "SHARD_BYTES", 1)
    corpus = finish(corpus_of(tmp_path / "corpus", [[""], [" "]], [["a text"]]).directory, Corpus)
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="at least one record with text"):
        Preprocess(corpus, tokenizer, PreprocessParams(block_size=16)).run_with(tmp_path / "out", PicklingWorkers(2))


def test_truncation_and_padding_in_tokenizer_json_do_not_leak(
    corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    loaded = tokenizer.load()
    loaded.backend_tokenizer.enable_truncation(12)
    loaded.backend_tokenizer.enable_padding(length=40)
    loaded.save_pretrained(tmp_path / "limited" / "tokenizer")
    saved = json.loads((tmp_path / "limited" / "tokenizer" / "tokenizer.json").read_text("utf-8"))
    assert saved["truncation"]
    assert saved["padding"]
    limited = run(corpus, Tokenizer(tmp_path / "limited"), tmp_path / "out")
    assert ids_of(limited) == ids_of(run(corpus, tokenizer, tmp_path / "expected"))


def test_splitting_special_tokens_is_the_tokenizers_choice(
    corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    shutil.copytree(tokenizer.directory / "tokenizer", tmp_path / "splitting" / "tokenizer")
    file = tmp_path / "splitting" / "tokenizer" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "split_special_tokens": True}), encoding="utf-8")
    splitting = Tokenizer(tmp_path / "splitting")
    assert splitting.load().split_special_tokens
    blocks = run(corpus, splitting, tmp_path / "out")
    assert ids_of(blocks) == list(guide(corpus, "train", splitting.load(), 16, None))
    mask = splitting.load().mask_token_id
    assert not any(mask in block for block in ids_of(blocks))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1), max_size=6))
def test_encoding_batches_is_encoding_each_text(tokenizer: Tokenizer, batches: list[list[str]]) -> None:
    loaded = tokenizer.load()
    expected = [[token for text in texts for token in loaded(text)["input_ids"]] for texts in batches]
    encoded = list(encode(untruncated(loaded), batches))
    assert [batch.token_ids.tolist() for batch in encoded] == expected
    assert all(batch.token_ids.dtype == np.int32 for batch in encoded)
    for batch, texts in zip(encoded, batches, strict=True):
        assert batch.tokens.tolist() == [len(loaded(text)["input_ids"]) for text in texts]
        assert batch.characters.tolist() == [len(text) for text in texts]
        assert batch.bytes.tolist() == [len(text.encode()) for text in texts]


def test_reading_keeps_only_a_few_batches_ahead(tokenizer: Tokenizer) -> None:
    read = 0

    def batches() -> Iterator[list[str]]:
        nonlocal read
        for read in range(1, 51):
            yield [f"batch {read}"]

    for consumed, _ in enumerate(encode(untruncated(tokenizer.load()), batches()), start=1):
        assert read <= consumed + components.blocks.encoding.BATCHES_AT_ONCE
    assert consumed == 50


def test_an_error_while_reading_ends_the_step(tokenizer: Tokenizer) -> None:
    def broken() -> Iterator[list[str]]:
        yield ["a"]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(encode(untruncated(tokenizer.load()), broken()))


def test_a_split_that_fills_no_block_is_refused_with_numbers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", TEXTS, [["short"]])
    tokens = len(tokenizer.load()("short")["input_ids"])
    with pytest.raises(
        DataError, match=rf"the test split .*{tokens} tokens for a block_size of 128.*--preprocess.block"
    ):
        run(corpus, tokenizer, tmp_path / "out", 128)


def test_a_split_without_text_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", TEXTS, [None, []])
    with pytest.raises(DataError, match=r"the test split must have at least one record with text.*1 null and 1 empty"):
        run(corpus, tokenizer, tmp_path / "out")


def test_a_missing_column_is_refused_with_the_nearest(corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    step = Preprocess(corpus, tokenizer, PreprocessParams(text_column="answer.text"))
    with pytest.raises(DataError, match=r"'answer.text'.*--preprocess.text_column, for example to answers.text"):
        step.run(tmp_path)


def test_blocks_beyond_the_tokenizers_limit_are_refused_before_any_work(tokenizer: Tokenizer, tmp_path: Path) -> None:
    nowhere = Corpus(tmp_path / "no corpus")
    with pytest.raises(ConfigError, match=r"at most the tokenizer's model_max_length, 512 .*Received: 513\."):
        run(nowhere, tokenizer, tmp_path / "out", 513)


def test_a_tokenizer_without_a_limit_takes_any_block_size(corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    loaded = tokenizer.load()
    loaded.model_max_length = int(1e30)
    loaded.save_pretrained(tmp_path / "unlimited" / "tokenizer")
    assert run(corpus, Tokenizer(tmp_path / "unlimited"), tmp_path / "out", 1024).block_size == 1024


@pytest.mark.parametrize(("name", "value"), [("block_size", 7), ("block_size", -1), ("text_column", "")])
def test_absurd_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"preprocess\.{name} .*--preprocess\.{name}"):
        dataclasses.replace(PreprocessParams(), **{name: value})


def test_the_records_say_whose_token_is_whose(tokenizer: Tokenizer, tmp_path: Path) -> None:
    lists: list[Any] = [["first text"], None, ["second", "one"], [" "], ["third, naïve"]]
    blocks = run(corpus_of(tmp_path / "corpus", lists * 9), tokenizer, tmp_path / "out", 8)
    records, texts = blocks.records("test"), ["first text", "second one", "third, naïve"] * 9
    assert records["row"].tolist() == [place for place in range(45) if place % 5 in (0, 2, 4)]
    assert records["characters"].tolist() == [len(text) for text in texts]
    assert records["bytes"].tolist() == [len(text.encode()) for text in texts]
    loaded = tokenizer.load()
    assert records["tokens"].tolist() == [len(loaded(text)["input_ids"]) for text in texts]
    report = blocks.read_json("report.json")
    assert records["tokens"].sum() == report["splits"]["test"]["tokens"]
    assert report["special_tokens_per_record"] == 2


def test_a_tokenizer_that_lacks_the_words_of_the_text_is_said(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    PrepareTokenizer(corpus, "answers.text", TokenizerParams(model="wordpiece", vocab_size=400)).run(
        tmp_path / "tokenizer"
    )
    english = finish(tmp_path / "tokenizer", Tokenizer)
    assert "<unk>" not in run(corpus, english, tmp_path / "blocks").report.summary
    (tmp_path / "thai").mkdir()
    thai = corpus_of(tmp_path / "thai", [["สวัสดีครับ ผมชื่อสมชาย"] * 9], [["น้ำที่กรุงเทพ"] * 9])
    summary = run(thai, english, tmp_path / "unknown", block_size=8).report.summary
    assert "of the test split's tokens are [UNK]: unknown to the tokenizer" in summary
