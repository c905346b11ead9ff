"""SentencePiece's unigram in the graph gives the fast tokenizer's ids, and its texts."""

import os

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import ModelError
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from serving.graph.tokenizers.in_graph import UNCUT
from tests.serving.graph.tokenizers.differences import MANY_SEEDS, Comparison, random_sequences, random_texts
from tests.serving.graph.tokenizers.unigram_tokenizers import families, roberta_like

BY_DEFAULT = ("albert", "xlm-roberta", "deberta-v2")
MARKS = "\u0301\u0323\u302e\u0903\U0001d165\U0001d16d\U00016ff0\u200d\u00a9\u0915\u094d\u0937\u0600\u1100\u1161\r\n"


def compared(name):
    tokenizer = families()[name]()
    return Comparison(tokenizer, build_in_graph_tokenizer(tokenizer))


@pytest.fixture(
    scope="module", params=[BY_DEFAULT[0], *(pytest.param(name, marks=pytest.mark.slow) for name in BY_DEFAULT[1:])]
)
def comparison(request):
    return compared(request.param)


@given(
    st.lists(
        st.text(max_size=40)
        | st.lists(st.sampled_from(["<mask>", "[MASK]", "<pad>", "＜mask＞", *" \t▁'`ab.[]<>", *MARKS])).map("".join),
        min_size=1,
    )
)
@settings(deadline=None, max_examples=100)
def test_ids_of_any_text(comparison, texts):
    assert not comparison.differences(texts)


def test_ids_of_hard_texts(comparison):
    assert not comparison.differences(random_texts(comparison.tokenizer.all_special_tokens, 1000, 1))


def test_ids_of_prose(comparison, prose):
    assert not comparison.differences(prose)


@pytest.mark.parametrize("skip", [True, False])
def test_texts_of_any_ids(comparison, skip):
    sequences = random_sequences(len(comparison.tokenizer), 1000, seed=1)
    assert not comparison.decoding_differences(sequences, skip)


def test_invalid_utf8_and_nul(comparison):
    texts = [b"a\xff\xc3 b", b"\xed\xa0\x80<mask>", b"\x00", b"a\x00b [MASK]", b""]
    assert (
        comparison.ids(texts) == comparison.tokenizer([text.decode("utf-8", "replace") for text in texts])["input_ids"]
    )


def test_long_texts(comparison):
    texts = ["word " * 20_000, "", "x" * 3000, "<mask>" * 64, " " * 5000, "ab" * 1000 + " [MASK]", "🦄" * 500 + "a"]
    assert not comparison.differences(texts)


def test_no_text(comparison):
    assert comparison.encode(tf.constant([], tf.string)).shape[0] == 0


def test_bytes_of_unknown_characters(prose):
    comparison = compared("byte fallback")
    texts = ["<unk>", "a<unk>🦄<unk>", "🦄 ☃☃a", "<0x41>", *random_texts(["<mask>", "<unk>"], 300, 1), *prose[:100]]
    assert not comparison.differences(texts)


@pytest.mark.slow
def test_a_huge_word_is_not_cut_where_only_the_models_length_matters():
    tokenizer = families()["xlm-roberta"]()
    in_graph = build_in_graph_tokenizer(tokenizer, most_tokens=50)
    comparison = Comparison(tokenizer, in_graph)
    texts = ["a word", "ab" * 390 + " <mask>", "ab" * 50_000 + " <mask>"]
    short, long, huge = comparison.ids(texts)
    assert [short, long] == tokenizer(texts[:2])["input_ids"]
    assert len(huge) > 50
    assert huge[-2:] == [tokenizer.mask_token_id, tokenizer.eos_token_id]
    # Not even its beginning is guessed where it's cut, and no token stands for it.
    assert UNCUT in huge[:50]
    targets = tf.constant(["ab" * 50_000])
    target_ids = tf.function(lambda: in_graph.target_ids(targets, in_graph.tokenize(targets)), autograph=False)
    assert target_ids().numpy().tolist() == [-1]


def test_what_is_not_known_is_refused():
    from tokenizers import Regex, normalizers, pre_tokenizers

    metaspace = pre_tokenizers.Metaspace()
    long_piece = (("▁" + "a" * 40, -1.0),)
    for tokenizer, reason in (
        (roberta_like(normalizers.Nmt(), metaspace), "the normalizer Nmt"),
        (roberta_like(normalizers.Replace(Regex("a+"), "b"), metaspace), "the normalizer Replace of"),
        (roberta_like(None, pre_tokenizers.Whitespace()), "the pre-tokenizer Whitespace"),
        (roberta_like(None, pre_tokenizers.Metaspace(prepend_scheme="first")), "the first word only"),
        (roberta_like(None, metaspace, pieces=long_piece), "a piece of 41 characters"),
    ):
        with pytest.raises(ModelError, match=reason):
            build_in_graph_tokenizer(tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(families()))
def test_ids_of_many_texts(name, prose):
    comparison = compared(name)
    assert not comparison.differences(prose)
    for seed in MANY_SEEDS:
        assert not comparison.differences(random_texts(comparison.tokenizer.all_special_tokens, 2000, seed))
    for skip in (True, False):
        sequences = random_sequences(len(comparison.tokenizer), 5_000, seed=1)
        assert not comparison.decoding_differences(sequences, skip)


@pytest.mark.slow
@pytest.mark.skipif(
    "UNIGRAM_TOKENIZERS" not in os.environ, reason="UNIGRAM_TOKENIZERS names no folders with a tokenizer.json each"
)
def test_ids_of_tokenizers_made_elsewhere(prose):
    from transformers import AutoTokenizer

    for folder in os.environ["UNIGRAM_TOKENIZERS"].split(os.pathsep):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        comparison = Comparison(tokenizer, build_in_graph_tokenizer(tokenizer))
        assert not comparison.differences(prose)
        for seed in range(200, 250):
            assert not comparison.differences(random_texts(tokenizer.all_special_tokens, 2000, seed))
