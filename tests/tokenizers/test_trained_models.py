"""What is trained: the same in every process, and the same in the graph."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from components.tokenizers.adding import add_words
from components.tokenizers.params import MODELS, TokenizerParams
from components.tokenizers.trained_models import alphabet
from components.tokenizers.training import CHARACTERS_A_WORD, cut_long_words, train
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from tests.test_tokenizer import LISTS, corpus_of

ROOT = Path(__file__).resolve().parents[2]
LETTERS = "Größe, ﬁn: 漢字かな; naïve!"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpus_of(tmp_path_factory.mktemp("corpus"), [*LISTS, [LETTERS] * 3])


def trained(corpus, model, **params):
    return train(corpus, "answers.text", TokenizerParams(model=model, **{"vocab_size": 290, **params}))[0]


@pytest.mark.parametrize("model", MODELS)
def test_special_tokens_are_where_every_architecture_takes_them(model, corpus) -> None:
    tokenizer = trained(corpus, model)
    assert (tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id) == (0, 1, 2)
    assert (tokenizer.unk_token_id, tokenizer.mask_token_id) == (3, 4)
    ids = tokenizer(f"the quick {tokenizer.mask_token}.")["input_ids"]
    assert (ids[0], ids[-1]) == (0, 2)
    assert ids.count(4) == 1
    assert tokenizer.decode(tokenizer("the quick fox")["input_ids"], skip_special_tokens=True) == "the quick fox"
    assert len(tokenizer) <= 290


@pytest.mark.parametrize("model", [model for model in MODELS if model != "bpe"])
def test_training_is_deterministic_across_processes(model, corpus) -> None:
    program = (
        "import sys; from pathlib import Path; from components.contract.artifacts import Corpus\n"
        "from components.tokenizers.params import TokenizerParams; from components.tokenizers.training import train\n"
        "params = TokenizerParams(model=sys.argv[2], vocab_size=290)\n"
        "print(train(Corpus(Path(sys.argv[1])), 'answers.text', params)[0].backend_tokenizer.to_str())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, str(corpus.directory), model]
    done = subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=120, capture_output=True, text=True)
    assert done.stdout.strip() == trained(corpus, model).backend_tokenizer.to_str()


@pytest.mark.parametrize(
    ("model", "lowercase"),
    [
        pytest.param(model, lowercase, marks=() if (model, lowercase) == ("unigram", False) else pytest.mark.slow)
        for model in MODELS
        for lowercase in (False, True)
    ],
)
def test_the_graph_gives_the_very_ids_also_of_words_that_were_added(model, lowercase, corpus) -> None:
    tokenizer = trained(corpus, model, lowercase=lowercase)
    add_words(tokenizer, ["tardigrade", "new york", "C++", "Über", "火山", "mask"])
    built = build_in_graph_tokenizer(tokenizer)  # compares hundreds of texts
    texts = [
        "a tardigrade",
        "tardigrades xtardigrade",
        "Tardigrade's new york.",
        "C++11 C++",
        "über火山岩 ",
        "mask<mask>",
    ]
    assert built.encode(tf.constant(texts)).to_list() == tokenizer(texts)["input_ids"]


def test_a_character_is_a_token(corpus) -> None:
    tokenizer = trained(corpus, "character", min_frequency=1)
    assert tokenizer.tokenize("Größe 漢字") == ["G", "r", "ö", "ß", "e", "▁", "漢", "字"]
    assert tokenizer.tokenize("the <mask>x") == ["t", "h", "e", "▁", "<mask>", "x"], "a blank before a mask is kept"


def test_lowercase_and_the_longest_token_are_heeded(corpus) -> None:
    for model in MODELS:
        small = trained(corpus, model, lowercase=True, max_token_length=3)
        learned = set(small.get_vocab()) - set(small.all_special_tokens)
        assert small("THE")["input_ids"] == small("the")["input_ids"]
        assert all(len(token.removeprefix("##")) <= 3 for token in learned), model


def test_the_alphabet_is_in_order_and_the_rarest_are_left_out() -> None:
    assert alphabet(iter([["bba", "c b"]]), str, most=2, least_frequency=1) == ["a", "b"]
    assert alphabet(iter([["bba", "c b"]]), str, most=9, least_frequency=2, blank="▁") == ["b"]


def test_a_long_word_is_cut_and_nothing_is_lost() -> None:
    word = "acgt" * CHARACTERS_A_WORD
    text = f"before {word} after"
    pieces = list(cut_long_words(text))
    assert "".join(pieces) == text
    assert max(len(part) for piece in pieces for part in piece.split()) == CHARACTERS_A_WORD
    assert list(cut_long_words("short words")) == ["short words"]


def test_text_without_blanks_is_noticed(tmp_path) -> None:
    corpus = corpus_of(tmp_path, [["ACGT" * 400] for _ in range(5)])
    for model, advice in (
        ("bpe", "--tokenizer.model character"),
        ("wordpiece", "one unknown token"),
        ("character", None),
    ):
        _, read = train(corpus, "answers.text", TokenizerParams(model=model, vocab_size=300))
        note = read.note(model)
        assert note is None if advice is None else advice in note and "100% of the text" in note
