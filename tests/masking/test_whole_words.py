"""Whole-word masking: where words begin by each kind of tokenizer, and how they are chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from components.masking import whole_words
from components.masking.masking import IGNORED_LABEL, MaskingCollator, draw_masks, max_predictions
from components.masking.whole_words import WordBoundaries
from foundation.errors import ConfigError

SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
TEXTS = [
    "The quick brown fox jumps over the lazy dog, doesn't it?",
    "Numbers such as 1234 and (parenthesised) words, well-known names: e.g. C++ or foo_bar!",
    "Extraordinarily uncharacteristic unquestionably internationalisation of naïve cafés",
]


def trained(kind: str) -> PreTrainedTokenizerFast:
    """A small tokenizer of each convention, which cuts many words into pieces."""
    special = list(SPECIAL.values())
    if kind == "byte-level BPE":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    elif kind == "WordPiece":
        backend = Tokenizer(models.WordPiece(unk_token="<unk>"))
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special)
    else:
        backend = Tokenizer(models.Unigram())
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=70, special_tokens=special, unk_token="<unk>")
    trainer.show_progress = False
    backend.train_from_iterator(TEXTS * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


KINDS = ("byte-level BPE", "WordPiece", "Metaspace")
TOKENIZERS = {kind: trained(kind) for kind in KINDS}


def expected_starts(tokenizer: PreTrainedTokenizerFast, text: str) -> list[bool]:
    """By the text itself: a token begins a word where no letter or digit stands on both sides of its first one."""
    encoded = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    starts = []
    for token, (start, end) in zip(encoded.tokens, encoded.offsets, strict=True):
        # A blank that belongs to the token is before the word's first letter.
        blank = start + (len(text[start:end]) - len(text[start:end].lstrip()))
        inside = 0 < blank < len(text) and text[blank - 1].isalnum() and text[blank].isalnum()
        starts.append(token in "Ġ▁" or blank > start or not inside)
    for place in range(1, len(starts)):  # the mark alone begins the word that follows it
        if encoded.tokens[place - 1] in "Ġ▁":
            starts[place] = not text[slice(*encoded.offsets[place])][:1].isalnum()
    return starts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_words_begin_where_the_text_says(kind, text):
    tokenizer = TOKENIZERS[kind]
    ids = np.array([tokenizer(text, add_special_tokens=False)["input_ids"]])
    starts = WordBoundaries.of(tokenizer).starts(ids, np.ones_like(ids, bool))[0].tolist()
    assert starts == expected_starts(tokenizer, text), tokenizer.convert_ids_to_tokens(ids[0])
    assert not all(starts)


def test_words_of_a_sentence():
    """Read by eye, for the reader of this file."""
    tokenizer = TOKENIZERS["byte-level BPE"]
    ids = np.array(tokenizer("It doesn't (uncharacteristic) C++", add_special_tokens=False)["input_ids"])
    starts = WordBoundaries.of(tokenizer).starts(ids[None], np.ones((1, len(ids)), bool))[0]
    words = [tokenizer.decode(word).strip() for word in np.split(ids, np.flatnonzero(starts)[1:])]
    assert [word for word in words if word] == ["It", "doesn", "'t", "(", "uncharacteristic", ")", "C", "++"]


def test_bytes_of_one_character_stay_together():
    tokenizer = TOKENIZERS["byte-level BPE"]
    ids = np.array([tokenizer("日本 😀", add_special_tokens=False)["input_ids"]])
    starts = WordBoundaries.of(tokenizer).starts(ids, np.ones_like(ids, bool))[0]
    assert starts.sum() == 2


def test_a_block_edge_and_special_tokens_begin_words():
    tokenizer = TOKENIZERS["WordPiece"]
    boundaries = WordBoundaries.of(tokenizer)
    piece = next(index for index in range(len(tokenizer)) if not boundaries.begins[index])
    ids = np.array([[piece, piece, 2, piece, piece]])
    assert boundaries.starts(ids, ids != 2).tolist() == [[True, False, False, True, False]]


@pytest.mark.parametrize(
    ("decoder", "reason"),
    [(None, "without a decoder"), (decoders.Fuse(), "no blank before any"), (decoders.WordPiece("@@"), "every token")],
)
def test_tokenizers_without_marks_are_refused(decoder, reason):
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "<mask>": 1, "one": 2, "two": 3}, "<unk>"))
    if decoder is not None:
        backend.decoder = decoder
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", mask_token="<mask>")
    with pytest.raises(ConfigError, match=rf"train\.whole_word_mask.*{reason}"):
        WordBoundaries.of(tokenizer)


def blocks_of_words(lengths, rows, columns, seed=0, special_share=0.0):
    """Where words begin and what is maskable, in rows of words of random lengths."""
    random = np.random.default_rng(seed)
    maskable = random.random((rows, columns)) >= special_share
    starts = np.zeros((rows, columns), bool)
    for row in starts:
        row[np.minimum(np.cumsum(random.choice(lengths, columns)), columns - 1)] = True
    starts[:, 0] = True
    starts[:, 1:] |= ~maskable[:, :-1]
    return starts & maskable, maskable


def choose_words(starts, maskable, probability, slots, random):
    """At one rate for all rows."""
    blocks = len(starts)
    chance = random.random(blocks), random.random(starts.shape), random.random(blocks)
    return whole_words.choose_words(starts, maskable, np.full(blocks, probability), slots, *chance)


def word_numbers(starts):
    return np.cumsum(starts).reshape(starts.shape)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 40),
    st.floats(0, 1),
    st.floats(0, 0.5),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=200)
def test_words_are_chosen_whole_and_fit(lengths, rows, columns, probability, special_share, seed):
    starts, maskable = blocks_of_words(lengths, rows, columns, seed, special_share)
    slots = max_predictions(columns, probability)
    chosen = choose_words(starts, maskable, probability, slots, np.random.default_rng(seed))
    assert not chosen[~maskable].any()
    assert (chosen.sum(axis=1) <= slots).all()
    numbers = word_numbers(starts)
    for number in np.unique(numbers[maskable]):
        word = chosen[(numbers == number) & maskable]
        assert len(word) > slots or word.all() or not word.any()


@given(st.integers(1, 5), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_words_of_one_token_are_as_many_as_tokens(rows, columns, probability, seed):
    starts = np.ones((rows, columns), bool)
    slots = max_predictions(columns, probability)
    counts = choose_words(starts, starts, probability, slots, np.random.default_rng(seed)).sum(axis=1)
    assert (np.abs(counts - columns * probability) < 1 + 1e-6).all()


@pytest.mark.parametrize(
    ("probability", "lengths", "lost"),
    [
        (0.15, [1, 1, 1, 2, 3, 5], 0),
        (0.4, [1, 1, 2, 6], 0),
        (0.15, [2], 0),
        (0.3, [4, 5, 1], 0),
        (0.15, [1, 2, 2, 3, 8], 0.02),
        (0.15, [3], 0.03),  # of 20 slots, 18 at most are ever filled
    ],
)
def test_rates(probability, lengths, lost):
    """The share of tokens, and that of the words of every length."""
    starts, maskable = blocks_of_words(lengths, 20_000, 128)
    slots = max_predictions(128, probability)
    chosen = choose_words(starts, maskable, probability, slots, np.random.default_rng(1))
    assert abs(chosen.mean() / probability - (1 - lost)) < 0.005
    numbers = word_numbers(starts)
    length = np.bincount(numbers[maskable])[1:]
    hit = np.bincount(numbers[chosen], minlength=len(length) + 1)[1:] > 0
    for each in set(lengths):
        assert abs(hit[length == each].mean() / probability - 1) < (0.12 if lost else 0.06), each


def test_every_word_and_none():
    starts, maskable = blocks_of_words([1, 2, 3], 5, 20, special_share=0.1)
    random = np.random.default_rng(0)
    assert (choose_words(starts, maskable, 1.0, 20, random) == maskable).all()
    assert not choose_words(starts, maskable, 0.0, 1, random).any()


def test_a_word_longer_than_the_slots_counts_as_its_tokens():
    starts = np.zeros((400, 40), bool)
    starts[:, 0] = True
    chosen = choose_words(starts, np.ones_like(starts), 0.15, 6, np.random.default_rng(0))
    assert (chosen.sum(axis=1) == 6).all()
    assert (chosen.mean(axis=0) > 0.05).all()


def test_nothing_maskable():
    nothing = np.zeros((3, 8), bool)
    assert not choose_words(nothing, nothing, 0.5, 4, np.random.default_rng(0)).any()


def test_through_the_collator():
    """Real text: a word's pieces are masked together, and what becomes of each is drawn token by token."""
    tokenizer = TOKENIZERS["byte-level BPE"]
    stream = [token for text in TEXTS * 40 for token in tokenizer(text)["input_ids"]]
    ids = np.array(stream[: len(stream) // 64 * 64], np.int32).reshape(-1, 64)
    words = WordBoundaries.of(tokenizer)
    batch = MaskingCollator(tokenizer, 0.3, 0, words=words)([{"input_ids": row} for row in ids])
    chosen = batch["labels"] != IGNORED_LABEL
    starts = words.starts(ids, np.ones_like(ids, bool))
    assert (chosen[:, 1:] == chosen[:, :-1])[~starts[:, 1:]].all()
    maskable = ~np.isin(ids, tokenizer.all_special_ids)
    assert -0.04 < chosen.sum() / maskable.sum() / 0.3 - 1 < 0.01  # few words are one token here
    assert ((batch["input_ids"] == tokenizer.mask_token_id) & ~chosen).sum() == 0

    common = {"special_ids": (), "vocabulary_size": len(tokenizer), "mask_token_id": 4, "words": words}
    masks = draw_masks(ids, probability=0.3, random=np.random.default_rng(0), **common)
    labels = masks.dense_labels
    inner = (labels != IGNORED_LABEL)[:, 1:] & ~starts[:, 1:]  # pieces whose word began in the block
    masked = masks.input_ids == 4
    differs = (masked[:, 1:] != masked[:, :-1])[inner].mean()
    assert abs(differs - 2 * 0.8 * 0.2) < 0.05
    exact = draw_masks(
        ids, probability=1.0, random=np.random.default_rng(0), replace_rate=1.0, random_rate=0.0, **common
    )
    assert (exact.input_ids == 4).all()
