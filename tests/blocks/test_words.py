"""Texts that are tokenized word by word have the tokens that the tokenizer gives the whole texts."""

import pydoc_data.topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from components.blocks import words
from components.blocks.cutting import WORDS
from components.blocks.encoding import encode, word_tokens_of
from components.blocks.words import WordTokens, cuts_of, follows_character
from tests.blocks.test_cutting import KINDS, bpe, byte_level, wordpiece
from tests.serving.graph.tokenizers.bpe_tokenizers import FAMILIES

PROSE = [paragraph for topic in pydoc_data.topics.topics.values() for paragraph in topic.split("\n\n")][:400]
WHITE_SPACE = [
    *(" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "\n    "),
    *("\u00a0", "\u2003", "\u3000", "\x85", "\x1c"),
]
OTHER = [
    "'s",
    "'S",
    "'t",
    "’",
    "“",
    "”",
    "—",
    "…",
    ".",
    "!?",
    "«",
    "»",
    "\u0301",
    "\u200b",
    "\u180e",
    "´",
    "ﷺ",
    "\0",
    "_",
]
LETTERS = [
    *("a", "Bob", "the", "é", "ế", "ß", "İ", "мир", "漢字", "한국", "かな", "हिन्दी"),
    *("ა", "\U0001f600", "1", "2024", "x1", "³"),
]
ADDED = ["<mask>", "<s>", "[MASK]", "[mask]", "<", "e"]
TEXT = st.lists(st.sampled_from([*WHITE_SPACE, *WHITE_SPACE, *OTHER, *LETTERS, *LETTERS, *ADDED]), max_size=12).map(
    "".join
)


def around(tokenizer: Tokenizer, before: str, after: str) -> Tokenizer:
    tokenizer.post_processor = processors.TemplateProcessing(
        f"{before} $A {after}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (before, after)]
    )
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(PROSE, trainer)
    return tokenizer


def splitting(pattern: str) -> Tokenizer:
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    return bpe(pre_tokenizers.Sequence([split, byte_level(use_regex=False)]))


BY_WORD = {
    "bytes": lambda: around(bpe(byte_level()), "<s>", "</s>"),
    "bytes, a blank before": lambda: bpe(byte_level(add_prefix_space=True)),
    "bytes, lowercase": lambda: bpe(byte_level(), normalizers.Lowercase()),
    "bytes, composed": lambda: bpe(byte_level(), normalizers.NFC()),
    "bytes, decomposed": lambda: bpe(byte_level(), normalizers.NFD()),
    "bytes, an added letter": lambda: bpe(byte_level(), None, [AddedToken("e", single_word=True)]),
    "wordpiece": lambda: around(wordpiece(), "[UNK]", "[MASK]"),
    "wordpiece, cased": lambda: wordpiece(lowercase=False, handle_chinese_chars=False),
    "wordpiece, line ends kept": lambda: wordpiece(clean_text=False),
    "unigram": unigram,
    **FAMILIES,
    **{f"words {number}": lambda pattern=pattern: splitting(pattern) for number, pattern in enumerate(sorted(WORDS))},
}
BACKSLASH_W = r"\w"
made: dict[str, Tokenizer] = {}


def tokenizer_of(name: str) -> Tokenizer:
    if name not in made:
        found = {**KINDS, **BY_WORD}[name]()
        made[name] = getattr(found, "backend_tokenizer", found)
    return made[name]


def is_equal(word_tokens: WordTokens, backend: Tokenizer, texts: list[str]) -> None:
    token_ids, tokens = word_tokens.encode(texts)
    expected = [each.ids for each in backend.encode_batch_fast(texts, add_special_tokens=True)]
    assert [part.tolist() for part in np.split(token_ids, np.cumsum(tokens)[:-1])] == expected
    assert (token_ids.dtype, tokens.dtype) == (np.int32, np.int32)


def batches_of(count: int) -> list[list[str]]:
    """Prose, with several texts a batch."""
    return [PROSE[first : first + 10] for first in range(0, count, 10)]


@pytest.mark.parametrize("name", [*dict.fromkeys([*KINDS, *BY_WORD])])
@settings(deadline=None, max_examples=15)
@given(st.lists(st.lists(TEXT, min_size=1, max_size=4), min_size=1, max_size=3))
def test_the_tokens_are_those_of_the_whole_texts(name: str, batches: list[list[str]]) -> None:
    backend = tokenizer_of(name)
    word_tokens = word_tokens_of(backend)
    if word_tokens is not None:
        for texts in [*batches, *batches]:
            is_equal(word_tokens, backend, texts)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*dict.fromkeys([*KINDS, *BY_WORD])])
@settings(deadline=None, max_examples=40)
@given(st.lists(TEXT, min_size=1, max_size=40))
def test_the_tokens_of_many_texts_are_those_of_the_whole_texts(name: str, texts: list[str]) -> None:
    backend = tokenizer_of(name)
    if (word_tokens := word_tokens_of(backend)) is not None:
        is_equal(word_tokens, backend, texts)


def test_tokenizers_that_are_not_known_to_take_words_alone_get_whole_texts() -> None:
    known = {name for name in [*KINDS, *BY_WORD] if cuts_of(tokenizer_of(name))}
    assert set(KINDS) - known == {
        "bytes, added tokens",
        "bytes, stripped",
        "a blank begins a word",
        "deberta-v2",
        "byte fallback",
    }
    no_words = {"mmbert", "mmbert, tokens as they stand", "esmc"}
    assert set(BY_WORD) - known == no_words | {
        f"words {sorted(WORDS).index(next(p for p in WORDS if p.startswith(BACKSLASH_W)))}"
    }


def test_a_tokenizer_that_draws_its_tokens_at_random_gets_whole_texts() -> None:
    tokenizer = bpe(byte_level())
    assert cuts_of(tokenizer)
    tokenizer.model.dropout = 0.1
    assert cuts_of(tokenizer) is None


def test_each_different_word_is_tokenized_once() -> None:
    backend = Counting(tokenizer_of("bytes"))
    word_tokens = WordTokens(backend, cuts_of(tokenizer_of("bytes")), ([0], [1]))
    word_tokens.encode(["the cat and the dog", "the cat", " the cat\nand the dog"])
    assert backend.texts == ["the", " cat", " and", " the", " dog", "\nand"]
    word_tokens.encode(["the cat"])
    assert len(backend.texts) == 6


class Counting:
    """A tokenizer that notes which texts it gets."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.texts: list[str] = []

    def encode_batch_fast(self, texts: list[str], **options):
        self.texts += texts
        return self._tokenizer.encode_batch_fast(texts, **options)

    def __getattr__(self, name: str):
        return getattr(self._tokenizer, name)


@pytest.mark.parametrize("limit", ["MOST_WORDS", "MOST_CHARACTERS"])
def test_what_is_remembered_is_bounded(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, limit, 100)
    backend = tokenizer_of("bytes")
    word_tokens = word_tokens_of(backend)
    for texts in batches_of(60):
        is_equal(word_tokens, backend, texts)
        assert len(word_tokens._words) <= 100
        assert len(word_tokens._table.lengths) <= 102


def test_texts_with_added_tokens_are_tokenized_whole_among_others() -> None:
    backend = tokenizer_of("bytes")
    texts = ["a plain text", "one with a <mask>, which takes the blank before it", "", "another plain one", "<mask>"]
    is_equal(word_tokens_of(backend), backend, texts)


def test_long_texts_and_words_go_together() -> None:
    backend = tokenizer_of("bytes")
    texts = ["a short text", "x" * 5000, " ".join(PROSE[:40]), "the end"]
    (found,) = encode(backend, [texts], characters_at_once=4096)
    assert found.token_ids.tolist() == [token for each in backend.encode_batch_fast(texts) for token in each.ids]


def test_several_threads_give_the_tokens_of_one() -> None:
    backend = tokenizer_of("wordpiece")
    batches = batches_of(400) * 3
    found = [each.token_ids.tolist() for each in encode(backend, batches)]
    assert found == [[token for each in backend.encode_batch_fast(texts) for token in each.ids] for texts in batches]


def test_no_white_space_is_taken_for_a_character() -> None:
    spaces = [chr(code) for code in range(0x11_0000) if chr(code).isspace() or code in (0x180E, 0x200B)]
    for space in spaces:
        data = np.frombuffer(f"a{space}".encode(), np.uint8)
        assert not follows_character(data, np.array([len(data)])), hex(ord(space))


@pytest.mark.parametrize("character", [*"az09.~é¡»ÿжạ“”—…★한漢か", "\U0001f600", "\u07ff"])
def test_characters_are_no_white_space(character: str) -> None:
    data = np.frombuffer(f" {character}".encode(), np.uint8)
    assert follows_character(data, np.array([len(data)]))


def marked(*normal: normalizers.Normalizer, added: tuple[AddedToken, ...] = ()) -> Tokenizer:
    """A tokenizer with a mark for each blank."""
    tokenizer = Tokenizer(models.WordLevel({"▁": 0, "▁see": 1, "▁the": 2, "▁cat": 3, "▁?": 4}, unk_token="▁?"))
    tokenizer.normalizer = normalizers.Sequence(list(normal))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_tokens(list(added))
    return tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [
        pytest.param(
            marked(normalizers.Replace('"', ""), normalizers.Strip()), id="nothing but a quote between two blanks"
        ),
        pytest.param(
            marked(normalizers.Replace('"', ""), normalizers.Replace(Regex(" {2,}"), " ")), id="two blanks become one"
        ),
        pytest.param(
            marked(normalizers.Replace('"', "▁"), normalizers.Strip()), id="the mark itself stands between two blanks"
        ),
        pytest.param(
            marked(normalizers.Replace(Regex(" +"), "▁"), added=(AddedToken("the▁cat", normalized=True),)),
            id="a blank is in an added token as the mark",
        ),
    ],
)
def test_a_normalizer_may_look_across_a_blank(tokenizer: Tokenizer) -> None:
    texts = ['see " the cat', 'see "" the " cat "', "see the cat"]
    assert any(
        tokenizer.encode(text).ids != [token for word in pieces(text) for token in tokenizer.encode(word).ids]
        for text in texts
    )
    assert cuts_of(tokenizer) is None


def pieces(text: str) -> list[str]:
    """The words of a text, each with the blank before it."""
    first, *others = text.split(" ")
    return [first, *(f" {word}" for word in others)]


def test_a_blank_that_becomes_a_mark_is_no_white_space_to_a_pre_tokenizer() -> None:
    tokenizer = marked(normalizers.Replace(Regex(" +"), "▁"))
    assert cuts_of(tokenizer)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert cuts_of(tokenizer) is None


def test_special_tokens_go_around_texts_of_any_alphabet() -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(special_tokens=["[CLS]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator(["мир и другой мир"], trainer)
    backend = around(tokenizer, "[CLS]", "[SEP]")
    assert backend.encode("a").ids == [0, 1]  # it has no token for what is Latin, and none for the unknown
    texts = ["мир", "другой мир", "a", "", "и " * 60]
    is_equal(word_tokens_of(backend), backend, texts)
    (found,) = encode(backend, [texts], characters_at_once=40)
    assert found.token_ids.tolist() == [token for each in backend.encode_batch_fast(texts) for token in each.ids]
