"""WordPiece in the graph gives the fast tokenizer's ids, and its texts."""

import os

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from serving.graph.tokenizers.normalization.character_normalizer import bert_normal_forms
from tests.serving.graph.tokenizers.differences import MANY_SEEDS, Comparison, random_sequences, random_texts

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MARKS = "\u0301\u0323\u302e\u0903\U0001d165\U0001d16d\U00016ff0\u1abf\u200d"


@pytest.fixture(scope="module")
def comparison(wordpiece_tokenizer):
    return Comparison(wordpiece_tokenizer, build_in_graph_tokenizer(wordpiece_tokenizer))


@given(
    st.lists(
        st.text(max_size=40) | st.lists(st.sampled_from([*SPECIAL, *" \t\n'ab.[]#", *MARKS])).map("".join), min_size=1
    )
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
    texts = ["".join(f"a{chr(point)}b " for point in points[start : start + 64]) for start in range(0, len(points), 64)]
    assert not comparison.differences(texts[:4000:2])


@pytest.mark.parametrize(
    "options",
    [
        {"lowercase": False, "clean_up": True},
        pytest.param(
            {"lowercase": True, "strip_accents": False, "clean_text": False, "handle_chinese_chars": False},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_ids_and_texts_with_other_options(train_wordpiece, prose, options):
    tokenizer = train_wordpiece(**options)
    comparison = Comparison(tokenizer, build_in_graph_tokenizer(tokenizer))
    assert not comparison.differences(random_texts(SPECIAL, 500, 7) + prose[:500])
    assert not comparison.decoding_differences(comparison.ids(prose[:300]), skip_special_tokens=True)


def test_characters_are_reordered_as_the_normalizer_reorders_them():
    from tokenizers.normalizers import BertNormalizer

    order = bert_normal_forms(
        {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    ).order
    normalizer = BertNormalizer()
    moved = [chr(point) for point in sorted(order)][::7]
    assert len(moved) > 5
    for left in moved:
        for right in moved:
            expected = right + left if order[ord(left)] > order[ord(right)] else left + right
            assert normalizer.normalize_str(left + right) == expected


@pytest.mark.parametrize("skip", [True, False])
def test_texts_of_any_ids(comparison, skip):
    sequences = random_sequences(len(comparison.tokenizer), 2000, seed=1)
    assert not comparison.decoding_differences(sequences, skip)


def test_invalid_utf8_and_nul(comparison):
    texts = [b"a\xff\xc3 b", b"\xed\xa0\x80[MASK]", b"\x00", b"a\x00b [MASK]", b""]
    assert (
        comparison.ids(texts) == comparison.tokenizer([text.decode("utf-8", "replace") for text in texts])["input_ids"]
    )


def test_long_texts(comparison):
    texts = ["word " * 100_000, "", "x" * 100 + " " + "x" * 101, "é" * 100 + "." + "é" * 101, "[MASK]" * 64, " " * 5000]
    assert not comparison.differences(texts)


def test_no_text(comparison):
    assert comparison.encode(tf.constant([], tf.string)).shape[0] == 0


@pytest.mark.slow
def test_ids_of_many_texts(comparison):
    for seed in MANY_SEEDS:
        assert not comparison.differences(random_texts(SPECIAL, 2000, seed))


@pytest.mark.slow
@pytest.mark.skipif("BERT_VOCABULARY" not in os.environ, reason="BERT_VOCABULARY names no vocab.txt of BERT")
@pytest.mark.parametrize("lower_case", [True, False])
def test_ids_of_bert(prose, lower_case):
    from transformers import BertTokenizerFast

    tokenizer = BertTokenizerFast(vocab_file=os.environ["BERT_VOCABULARY"], do_lower_case=lower_case)
    comparison = Comparison(tokenizer, build_in_graph_tokenizer(tokenizer))
    assert not comparison.differences(prose)
    for seed in range(200, 250):
        assert not comparison.differences(random_texts(SPECIAL, 2000, seed))
    sequences = random_sequences(len(tokenizer), 20_000, seed=1)
    assert not comparison.decoding_differences(sequences, skip_special_tokens=True)
