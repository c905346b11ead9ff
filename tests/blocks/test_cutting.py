"""A text that is cut has the tokens of the whole text, whatever the tokenizer, and is cut wherever it can be."""

import functools
import pydoc_data.topics
import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from components.blocks import encoding
from components.blocks.cutting import WORDS, Cutter
from components.blocks.encoding import LongTexts, encode
from foundation import memory
from foundation.errors import DataError
from tests.serving.graph.tokenizers.unigram_tokenizers import families

PROSE = [paragraph for topic in pydoc_data.topics.topics.values() for paragraph in topic.split("\n\n")][:400]
OTHER_SCRIPTS = ["日本語漢字テスト。한국어、мир हिन्दी"] * 30
LLAMA = next(pattern for pattern in sorted(WORDS) if "{1,3}" in pattern)


def bpe(pre_tokenizer, normalizer=None, added=()):
    """A small BPE of bytes or characters, with a mask that takes the white space before it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    special = ["<s>", "</s>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*PROSE, *OTHER_SCRIPTS], trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True)])
    tokenizer.add_tokens(list(added))
    return tokenizer


def wordpiece(**options):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=900, special_tokens=["[UNK]", "[MASK]"], show_progress=False)
    tokenizer.train_from_iterator([*PROSE, *OTHER_SCRIPTS], trainer)
    tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    return tokenizer


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **options})


KINDS = {
    "bytes": lambda: bpe(byte_level()),
    "bytes, a blank before": lambda: bpe(byte_level(add_prefix_space=True)),
    "bytes, NFC, runs of blanks": lambda: bpe(byte_level(), normalizers.NFC(), ["  ", "   "]),
    "bytes, added tokens": lambda: bpe(
        byte_level(),
        normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
        [AddedToken("Bob", rstrip=True), AddedToken("e", single_word=True), AddedToken("ab.c", normalized=True)],
    ),
    "bytes, NFD": lambda: bpe(byte_level(), normalizers.NFD()),
    "bytes, stripped": lambda: bpe(byte_level(), normalizers.Strip()),
    "bytes, Llama's words": lambda: bpe(
        pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA), "isolated"), byte_level(use_regex=False)])
    ),
    "characters": lambda: bpe(pre_tokenizers.Whitespace()),
    "marks": lambda: bpe(pre_tokenizers.Metaspace(prepend_scheme="first")),
    "a blank begins a word": lambda: bpe(pre_tokenizers.Split(" ", "merged_with_next")),
    "wordpiece": lambda: wordpiece(),
    "wordpiece, cased": lambda: wordpiece(lowercase=False, handle_chinese_chars=False),
    **{name: make for name, make in families().items() if name != "one word, equal scores"},
}
WHOLE = {
    "one word": families()["one word, equal scores"],
    "a mark before every text": lambda: bpe(pre_tokenizers.Metaspace(prepend_scheme="never"), normalizers.Prepend("▁")),
    "a blank ends a word": lambda: bpe(pre_tokenizers.Split(" ", "merged_with_previous")),
    "an unknown expression": lambda: bpe(pre_tokenizers.Split(Regex("[aeiou]+"), "isolated")),
}
"""Those that no rule covers, so that every text stays whole."""

ALPHABETS = (
    [" ", " ", "\n", "\t", "\u3000", "\u00a0", "  ", "\r\n"],
    list("abcdefghij"),
    ["the", "of", "word", "Bob", "e", "ab.c", " the", "of "],
    list("日本語漢字。、"),
    [",", ".", "'s", "'ll", "-", "'", ")", "``", "''", "▁", "$"],
    ["<mask>", "[MASK]", " <mask> "],
    ["é", "e\u0301", "İ", "ﬁ", "①", "ﾞ", "が", "ͺ", "ำ", "\u0301", "\u200b", "\ufe0f", "ﷺ", "ﱞ", "‗"],
    list("0123456789"),
    ["мир", "हिन्दी", "한국"],
    PROSE[:20],
)


@functools.cache
def made(name):
    tokenizer = {**KINDS, **WHOLE}[name]()
    return getattr(tokenizer, "backend_tokenizer", tokenizer)


@st.composite
def texts(draw):
    """Words, runs and oddities, from some alphabets at a time."""
    generator = random.Random(draw(st.integers(0, 2**32)))
    alphabets = generator.sample(ALPHABETS, generator.randint(1, len(ALPHABETS)))
    parts = []
    while sum(map(len, parts)) < 600:
        part = generator.choice(generator.choice(alphabets))
        parts.append(part * (generator.randint(2, 60) if generator.random() < 0.1 else 1))
    return "".join(parts)


def ids_of(tokenizer, pieces):
    encodings = tokenizer.encode_batch(list(pieces), add_special_tokens=False)
    return [token_id for encoded in encodings for token_id in encoded.ids]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("bytes", "wordpiece", "xlm-roberta") else pytest.mark.slow)
        for name in [*KINDS, *WHOLE]
    ],
)
def test_pieces_have_the_tokens_of_the_whole(name):
    tokenizer = made(name)

    @settings(max_examples=50, deadline=None)
    @given(texts(), st.sampled_from([16, 40, 150]))
    @example("word " * 200, 40)
    @example("漢字" * 200, 16)
    @example("a" * 300 + "b", 40)
    @example("a" + " " * 300 + "<mask>", 40)
    def check(text, characters):
        pieces = list(Cutter(tokenizer).pieces(text, characters))
        assert "".join(pieces) == text
        assert ids_of(tokenizer, pieces) == ids_of(tokenizer, [text])

    check()


LONG = {
    "prose": " ".join(PROSE)[:20_000],
    "lines": "\n".join(f"line{number}" for number in range(2000)),
    "Chinese prose": "日本語漢字私東京。大学時間、" * 1000,
    "Chinese without punctuation": "日本語漢字" * 2000,
    "one word": "abcdefghijklmnopqrstuvwxyz" * 400,
    "one letter": "a" * 10_000,
    "blanks": "a" + " " * 10_000 + "b",
    "hyphens": "a" + "-" * 10_000 + "b",
}


@pytest.mark.parametrize("name", [name for name in LONG if name != "blanks"])
def test_byte_level_bpe_cuts_words_too(name):
    pieces = list(Cutter(made("bytes")).pieces(LONG[name], 1000))
    assert max(map(len, pieces)) <= 1000
    assert ids_of(made("bytes"), pieces) == ids_of(made("bytes"), [LONG[name]])


@pytest.mark.parametrize("name", ["prose", "lines", "Chinese prose", "Chinese without punctuation", "blanks"])
def test_wordpiece_cuts_between_words(name):
    pieces = list(Cutter(made("wordpiece")).pieces(LONG[name], 1000))
    assert max(map(len, pieces)) <= 1000
    assert ids_of(made("wordpiece"), pieces) == ids_of(made("wordpiece"), [LONG[name]])


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_cuts_prose(name):
    assert max(map(len, Cutter(made(name)).pieces(LONG["prose"], 1000))) <= 1000


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "one word" else pytest.mark.slow) for name in WHOLE]
)
def test_what_no_rule_covers_stays_whole(name):
    assert len(list(Cutter(made(name)).pieces(LONG["prose"], 1000))) == 1


def test_training_cuts_no_word():
    cutter = Cutter(made("bytes"), within_words=False)
    assert list(cutter.pieces("one " + "a" * 5000 + " two", 1000)) == ["one " + "a" * 5000, " two"]


def test_long_texts_get_their_special_tokens_once():
    tokenizer = families()["xlm-roberta"]()
    backend = encoding.untruncated(tokenizer)
    long = LONG["prose"]
    batches = [["short", long, "short again"], [long], ["last"]]
    found = list(encode(backend, batches, 1000))
    for batch, texts_of_batch in zip(found, batches, strict=True):
        expected = tokenizer(texts_of_batch)["input_ids"]
        assert batch.token_ids.tolist() == [token_id for ids in expected for token_id in ids]
        assert batch.tokens.tolist() == list(map(len, expected))
        assert batch.bytes.tolist() == [len(text.encode()) for text in texts_of_batch]


def test_a_text_that_cannot_be_cut_is_refused_where_the_memory_is_too_small(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 4000 kB\nMemAvailable: 1000 kB\n")
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "meminfo")
    backend = families()["xlm-roberta"]().backend_tokenizer
    assert len(LongTexts(backend, 4096).encode(LONG["prose"]))
    with pytest.raises(DataError, match=r"7,000 characters .* 2,100,000 bytes; 1,024,000 are free.*divide"):
        LongTexts(backend, 4096).encode("漢" * 7000)


def test_a_long_text_becomes_one_array():
    ids = LongTexts(made("bytes"), 4096).encode(LONG["prose"])
    assert ids.dtype == np.int32
    assert ids.tolist() == ids_of(made("bytes"), [LONG["prose"]])
