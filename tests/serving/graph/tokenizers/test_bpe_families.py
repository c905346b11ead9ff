"""Byte-pair encodings of newer families in the graph give the fast tokenizer's ids, and its texts."""

import random

import pytest

from foundation.errors import ModelError
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from tests.serving.graph.tokenizers.bpe_tokenizers import FAMILIES
from tests.serving.graph.tokenizers.differences import MANY_SEEDS, Comparison, random_sequences, random_texts
from tests.serving.graph.tokenizers.test_build import changed

LITERAL = ["|||IP_ADDRESS|||", "[unused3]", "  ", " " * 30, "\n\n", "\t", "▁", "▁▁", "<table>", "[@BOS@]", "<0x41>"]
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def texts_of(tokenizer, number, seed):
    """Hard texts, and texts of what these tokenizers treat apart."""
    generator = random.Random(seed)
    parts = [
        *LITERAL,
        tokenizer.mask_token,
        tokenizer.pad_token,
        "'s",
        "'LL",
        "'ſ",
        "a",
        "the ",
        "12345",
        "é",
        "e\u0301",
    ]
    parts += ["\u00a0", "\r\n", " !?\n", "漢字", "ग्\u093c", "🦄", "\u0316\u0301", "\u0897a\u0301"]
    mixed = ["".join(generator.choices(parts, k=generator.randrange(1, 12))) for _ in range(number // 2)]
    return [*mixed, *random_texts([*tokenizer.all_special_tokens, *LITERAL[:4]], number - len(mixed), seed)]


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in ("mmbert", "esmc") else pytest.mark.slow) for name in FAMILIES],
)
def comparison(request):
    tokenizer = FAMILIES[request.param]()
    return Comparison(tokenizer, build_in_graph_tokenizer(tokenizer))


def test_ids_and_texts(comparison, prose):
    texts = [*texts_of(comparison.tokenizer, 500, 1), *prose[:300]]
    assert not comparison.differences(texts)
    sequences = [*random_sequences(len(comparison.tokenizer), 500, seed=1), *comparison.ids(texts[:300])]
    for skip in (True, False):
        assert not comparison.decoding_differences(sequences, skip)


def test_long_texts(comparison, prose):
    long = " ".join(prose)[:5000]
    texts = [long, long.replace(" ", ""), "漢字" * 500 + "a", " " * 2000, "ab" * 1000, "\n" * 100 + "🦄" * 300]
    assert not comparison.differences(texts)


@pytest.mark.slow
def test_ids_of_many_texts(comparison):
    for seed in MANY_SEEDS:
        assert not comparison.differences(texts_of(comparison.tokenizer, 2000, seed))


def test_what_is_not_known_is_refused():
    mmbert = FAMILIES["mmbert"]()
    pattern = {"type": "Split", "pattern": {"Regex": r"\w+"}, "behavior": "Isolated", "invert": False}
    for settings, reason in (
        ({"model__byte_fallback": False}, "unknown ones"),
        ({"model__dropout": 0.1}, "dropout"),
        ({"normalizer": None, "pre_tokenizer__behavior": "Isolated"}, "BPE of characters without words"),
        ({"decoder": {"type": "Fuse"}}, "a decoder of type Fuse"),
    ):
        with pytest.raises(ModelError, match=reason):
            build_in_graph_tokenizer(changed(mmbert, **settings))
    other_words = {"type": "Sequence", "pretokenizers": [pattern, BYTES]}
    with pytest.raises(ModelError, match=r"a Split at .*w\+'}, Isolated"):
        build_in_graph_tokenizer(changed(FAMILIES["eurobert"](), pre_tokenizer=other_words))
