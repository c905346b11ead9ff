"""Training, loading and refusing tokenizers."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer
from transformers import AutoTokenizer, BertTokenizerFast, GPT2TokenizerFast, PreTrainedTokenizerFast

from components.contract.artifacts import Corpus, Tokenizer
from components.contract.manifest import describe_files
from components.tokenizer import PrepareTokenizer
from components.tokenizers.params import TokenizerParams
from foundation.errors import ConfigError, DataError, HubError, ModelError
from tests.finished import finish

WORDS = ["the", "a", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "while", "reading"]
LISTS = [
    ["so " + " ".join(WORDS[(number * 7 + place * place) % len(WORDS)] for place in range(12)), "It's done.", None]
    for number in range(50)
]


def corpus_of(directory: Path, lists: list[Any]) -> Corpus:
    split = Dataset.from_dict({"answers": [{"text": texts} for texts in lists]})
    DatasetDict(train=split, test=Dataset.from_dict({"answers": [{"text": ["zzqx " * 50]}]})).save_to_disk(
        directory / "dataset"
    )
    return Corpus(directory)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("corpus"), LISTS)


def prepare(corpus: Corpus, out: Path, **params: Any) -> Tokenizer:
    out.mkdir(parents=True, exist_ok=True)
    PrepareTokenizer(corpus, "answers.text", TokenizerParams(**params)).run(out)
    return finish(out, Tokenizer)


@pytest.fixture(scope="module")
def trained(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return prepare(corpus, tmp_path_factory.mktemp("trained"), vocab_size=310)


def test_a_trained_tokenizer_is_shaped_as_robertas(trained: Tokenizer) -> None:
    tokenizer = trained.load()
    assert type(tokenizer).__name__ == "RobertaTokenizerFast"
    assert len(tokenizer) == tokenizer.vocab_size == 310
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]) == [0, 1, 2, 3, 4]
    ids = tokenizer("the quick <mask>.")["input_ids"]
    assert ids[0] == tokenizer.cls_token_id == 0
    assert ids[-1] == tokenizer.sep_token_id == 2
    assert tokenizer.convert_ids_to_tokens(ids)[-4:] == ["Ġquick", "<mask>", ".", "</s>"], "<mask> takes its blank"
    assert tokenizer.model_max_length == 512
    assert tokenizer.model_input_names == ["input_ids", "attention_mask"]


def test_its_tokenizer_json_is_complete_without_transformers(trained: Tokenizer) -> None:
    rust = RustTokenizer.from_file(str(trained.directory / "tokenizer" / "tokenizer.json"))
    text = "the <mask> fox </s> isn't  here\n"
    assert rust.encode(text).ids == trained.load()(text)["input_ids"]


def test_it_learns_from_the_train_split_alone(trained: Tokenizer) -> None:
    vocabulary = trained.load().get_vocab()
    assert "Ġquick" in vocabulary
    assert not any("zz" in token or "qx" in token for token in vocabulary)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda text: "<" not in text))
def test_it_gives_back_every_text(trained: Tokenizer, text: str) -> None:
    tokenizer = trained.load()
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids[1:-1], clean_up_tokenization_spaces=False) == text


def test_training_is_deterministic_across_processes(corpus: Corpus, trained: Tokenizer, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from components.contract.artifacts import Corpus\n"
        "from components.tokenizer import PrepareTokenizer, TokenizerParams\n"
        "step = PrepareTokenizer(Corpus(Path(sys.argv[1])), 'answers.text', TokenizerParams(vocab_size=310))\n"
        "step.run(Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1"}
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-c", program, str(corpus.directory), str(tmp_path)]
    subprocess.run(command, check=True, cwd=root, env=environment, timeout=120)
    assert describe_files(tmp_path) == describe_files(trained.directory)


def test_the_report_says_what_it_is(trained: Tokenizer) -> None:
    report = trained.read_json("report.json")
    assert report["vocab_size"] == 310
    assert report["special_tokens"]["<mask>"] == 4
    assert report["training_records"] == 50
    assert "310 tokens, trained on the train split" in trained.summary


def test_params_reach_the_training(corpus: Corpus, tmp_path: Path) -> None:
    tokenizer = prepare(corpus, tmp_path, vocab_size=261, model_max_length=99).load()
    assert len(tokenizer) == 261
    assert tokenizer.model_max_length == 99
    assert len(prepare(corpus, tmp_path / "rare", vocab_size=1000, min_frequency=10_000).load()) == 261


@pytest.mark.parametrize("lists", [[None, []], [[" "]]])
def test_a_train_split_without_text_is_refused(lists: list[Any], tmp_path: Path) -> None:
    features = corpus_of(tmp_path / "c", LISTS).split("train").features
    splits = {
        name: Dataset.from_dict({"answers": [{"text": item} for item in lists]}, features) for name in ("train", "test")
    }
    DatasetDict(splits).save_to_disk(tmp_path / "empty" / "dataset")
    with pytest.raises(DataError, match=r"must have at least one record with text.*--preprocess\.text_column"):
        prepare(Corpus(tmp_path / "empty"), tmp_path / "out")


def test_a_missing_text_column_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'body'.*answers\.text"):
        PrepareTokenizer(corpus, "body", TokenizerParams()).run(tmp_path)


NOWHERE = Corpus(Path("no corpus is read"))


def test_a_local_folder_is_loaded_as_it_is(trained: Tokenizer, tmp_path: Path) -> None:
    copy = prepare(NOWHERE, tmp_path / "out", pretrained=str(trained.directory / "tokenizer"))
    text = "the quick <mask> isn't"
    assert copy.load()(text) == trained.load()(text)
    assert "from the folder tokenizer" in copy.summary


def test_sources_are_the_local_files_digests(trained: Tokenizer, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(trained.directory / "tokenizer", folder)
    step = PrepareTokenizer(NOWHERE, "answers.text", TokenizerParams(pretrained=str(folder)))
    before = dict(step.sources())
    assert before
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 64}), encoding="utf-8")
    assert dict(step.sources()) != before
    assert PrepareTokenizer(NOWHERE, "answers.text", TokenizerParams()).sources() == {}


def test_robertas_bare_vocabulary_and_merges_are_enough(trained: Tokenizer, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(trained.directory / "tokenizer" / name, bare)
    loaded = prepare(NOWHERE, tmp_path / "out", pretrained=str(bare)).load()
    text = "the quick <mask> isn't </s> here"
    assert loaded(text)["input_ids"] == trained.load()(text)["input_ids"]
    assert len(loaded) == 310


def test_a_bare_vocabulary_of_another_family_is_refused(trained: Tokenizer, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    vocabulary = json.loads((trained.directory / "tokenizer" / "vocab.json").read_text("utf-8"))
    for token in ("<mask>", "<s>"):
        del vocabulary[token]
    (bare / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    shutil.copy(trained.directory / "tokenizer" / "merges.txt", bare)
    with pytest.raises(ModelError, match=r"lacks a mask token .* a cls token \(\[CLS\] or <s> or <cls>\)"):
        prepare(NOWHERE, tmp_path / "out", pretrained=str(bare))


def test_a_tokenizer_of_another_kind_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox"]))
    BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt"), model_max_length=77).save_pretrained(tmp_path / "bert")
    tokenizer = prepare(NOWHERE, tmp_path / "out", pretrained=str(tmp_path / "bert"))
    assert tokenizer.load()("The [MASK]")["input_ids"] == [2, 5, 4, 3]
    assert tokenizer.read_json("report.json")["model_max_length"] == 77


def test_a_tokenizer_without_a_mask_token_is_refused(trained: Tokenizer, tmp_path: Path) -> None:
    rust = RustTokenizer.from_file(str(trained.directory / "tokenizer" / "tokenizer.json"))
    GPT2TokenizerFast(tokenizer_object=rust).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ModelError, match=r"must have a mask token.*GPT2TokenizerFast.*--tokenizer\.pretrained"):
        prepare(NOWHERE, tmp_path / "out", pretrained=str(tmp_path / "gpt2"))
    assert not (tmp_path / "out" / "tokenizer").exists()


def test_a_tokenizer_without_a_fast_version_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({"<unk>": 0, "<pad>": 1, "<mask>": 2, "a": 3}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Wav2Vec2CTCTokenizer", "mask_token": "<mask>"})
    )
    assert not AutoTokenizer.from_pretrained(folder).is_fast
    with pytest.raises(ModelError, match=r"must have a fast version.*Wav2Vec2CTCTokenizer"):
        prepare(NOWHERE, tmp_path / "out", pretrained=str(folder))


@pytest.mark.parametrize("content", [None, "", "{", '{"model": 3}'])
def test_a_folder_without_a_tokenizer_that_loads_is_refused(content: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if content is not None:
        (folder / "tokenizer.json").write_text(content)
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(ModelError, match=r"a local tokenizer must be a folder.*--tokenizer\.pretrained") as caught:
        prepare(NOWHERE, tmp_path / "out", pretrained=str(folder))
    assert len(caught.value.received) < len(str(folder)) + 200
    assert ("it holds no vocabulary" in caught.value.received) == (content is None)


@pytest.mark.parametrize("name", ["nobody-has/such-a-tokenizer", "/no/such/folder", "./no such folder", __file__])
def test_a_name_out_of_reach_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no cache"))
    step = PrepareTokenizer(NOWHERE, "answers.text", TokenizerParams(pretrained=name))
    with pytest.raises(HubError):
        step.preflight()
    with pytest.raises(HubError):
        step.run(tmp_path)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"vocab_size": 260}, "tokenizer.vocab_size must be at least 261"),
        ({"vocab_size": 10**22}, "tokenizer.vocab_size must be at least 261, and at most 16,777,216"),
        ({"min_frequency": 0}, "tokenizer.min_frequency must be at least 1"),
        ({"model_max_length": -1}, "tokenizer.model_max_length must be at least 8"),
        ({"model": "words"}, "tokenizer.model must be one of bpe, wordpiece, unigram, character"),
        ({"max_token_length": 0}, "tokenizer.max_token_length must be at least 1"),
        ({"model": "unigram", "max_token_length": 33}, "must be at most 32 for a unigram model"),
        ({"pretrained": " "}, "tokenizer.pretrained must be a Hub name, a local folder or a vocabulary file"),
        ({"revision": "main"}, "tokenizer.revision must be given only with a pretrained tokenizer"),
    ],
)
def test_absurd_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TokenizerParams(), **params)


def test_the_loaded_type_is_the_artifacts_promise(trained: Tokenizer) -> None:
    assert isinstance(trained.load(), PreTrainedTokenizerFast)
