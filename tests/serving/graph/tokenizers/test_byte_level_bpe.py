"""Byte-level BPE in the graph gives the fast tokenizer's ids, and its texts."""

import os
import random

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from tests.serving.graph.tokenizers.differences import MANY_SEEDS, Comparison, random_sequences, random_texts

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@pytest.fixture(scope="module")
def comparison(byte_level_tokenizer):
    return Comparison(byte_level_tokenizer, build_in_graph_tokenizer(byte_level_tokenizer))


@given(
    st.lists(st.text(max_size=40) | st.lists(st.sampled_from([*SPECIAL, *" \t\n'stre<>a1.é"])).map("".join), min_size=1)
)
@settings(deadline=None, max_examples=200)
def test_ids_of_any_text(comparison, texts):
    assert not comparison.differences(texts)


@pytest.mark.parametrize("seed", range(1, 4))
def test_ids_of_hard_texts(comparison, seed):
    assert not comparison.differences(random_texts(SPECIAL, 1000, seed))


def test_ids_of_prose(comparison, prose):
    assert not comparison.differences(prose)


def test_ids_of_every_code_point(comparison):
    points = code_points.scalar_values()
    texts = [
        "".join(f"a{chr(point)} {chr(point)}1" for point in points[start : start + 64])
        for start in range(0, len(points), 64)
    ]
    assert not comparison.differences(random.Random(0).sample(texts, 2000))


@pytest.mark.parametrize("options", [{"add_prefix_space": True}, {"normalized": False, "clean_up": True}])
def test_ids_and_texts_with_other_options(train_byte_level, prose, options):
    tokenizer = train_byte_level(**options)
    comparison = Comparison(tokenizer, build_in_graph_tokenizer(tokenizer))
    assert not comparison.differences(random_texts(SPECIAL, 500, 7) + prose[:500])
    assert not comparison.decoding_differences(comparison.ids(prose[:300]), skip_special_tokens=True)


def test_merges_out_of_order_are_joined_one_by_one(train_byte_level):
    """(ab, c) ranks below (abc, ab), which its own result takes part in: joining both `abc` at once would be wrong."""
    merges = [("a", "b"), ("b", "c"), ("a", "bc"), ("abc", "ab"), ("ab", "c"), ("abc", "d")]
    tokenizer = train_byte_level(merges=merges)
    in_graph = build_in_graph_tokenizer(tokenizer)
    assert not in_graph._pieces._merges._in_order
    generator = random.Random(0)
    texts = ["abcabc"] + ["".join(generator.choices("abcd", k=generator.randrange(30))) for _ in range(500)]
    assert not Comparison(tokenizer, in_graph).differences(texts)


@pytest.mark.parametrize("skip", [True, False])
def test_texts_of_any_ids(comparison, skip):
    sequences = random_sequences(len(comparison.tokenizer), 2000, seed=1)
    assert not comparison.decoding_differences(sequences, skip)


def test_invalid_utf8_and_nul(comparison):
    texts = [b"a\xff\xc3 b", b"\xed\xa0\x80<mask>", b"\x00", b"a\x00b <mask>", b""]
    assert (
        comparison.ids(texts) == comparison.tokenizer([text.decode("utf-8", "replace") for text in texts])["input_ids"]
    )


def test_long_texts(comparison):
    texts = ["word " * 100_000, "", "x" * 3000, "<mask>" * 64, " " * 5000, "ab" * 2000 + " <mask>"]
    assert not comparison.differences(texts)


def test_words_of_thousands_of_letters(comparison, train_byte_level, prose):
    """They are merged by stretches, also where one pair stands in a long row across their borders."""
    generator = random.Random(0)
    letters = "".join(character for paragraph in prose for character in paragraph if character.isalpha())
    starts = [generator.randrange(len(letters) - 3000) for _ in range(50)]
    assert not comparison.differences([letters[start : start + generator.randrange(3000)] for start in starts])

    merges = [("b", "a"), ("a", "a"), ("a", "c"), ("aa", "aa"), ("aaaa", "aa"), ("c", "aa"), ("aa", "ba")]
    tokenizer = train_byte_level(merges=merges)
    in_graph = build_in_graph_tokenizer(tokenizer)
    assert in_graph._pieces._merges._in_order
    texts = [
        "".join(generator.choice("abc") * generator.choice([1, 2, 3, 5, 20, 41]) for _ in range(60)) for _ in range(300)
    ]
    assert not Comparison(tokenizer, in_graph).differences(texts)


def test_no_text(comparison):
    assert comparison.encode(tf.constant([], tf.string)).shape[0] == 0


@pytest.mark.slow
def test_ids_of_many_texts(comparison):
    for seed in MANY_SEEDS:
        assert not comparison.differences(random_texts(SPECIAL, 2000, seed))


@pytest.mark.slow
@pytest.mark.skipif(
    "ROBERTA_TOKENIZER" not in os.environ, reason="ROBERTA_TOKENIZER names no folder with RoBERTa's vocab.json"
)
def test_ids_of_roberta(prose):
    from transformers import RobertaTokenizerFast

    tokenizer = RobertaTokenizerFast.from_pretrained(os.environ["ROBERTA_TOKENIZER"])
    comparison = Comparison(tokenizer, build_in_graph_tokenizer(tokenizer))
    assert not comparison.differences(prose)
    for seed in range(200, 250):
        assert not comparison.differences(random_texts(SPECIAL, 2000, seed))
    assert not comparison.decoding_differences(
        random_sequences(len(tokenizer), 20_000, seed=1), skip_special_tokens=True
    )
