"""Tokens as they are shown: pieces of words are told from whole ones, and examples stay within their record."""

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from components.evaluation.questions import Questions, Records
from components.evaluation.token_texts import TokenTexts
from components.evaluation.worst_tokens import worst_tokens
from components.masking.frozen_masks import FrozenMasks
from components.modeling.scoring import Scores

SPECIAL = ["<pad>", "<unk>", "</s>", "<mask>"]
NAMES = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>", "mask_token": "<mask>"}


def word_piece(*words):
    backend = Backend(models.WordPiece({word: n for n, word in enumerate([*SPECIAL, *words])}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **NAMES)


def metaspace(*words):
    backend = Backend(models.Unigram([(word, -1.0) for word in [*SPECIAL, *words]], unk_id=1))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **NAMES)


def byte_level(*words):
    backend = Backend(models.BPE({word: n for n, word in enumerate([*SPECIAL, *words])}, []))
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **NAMES)


def without_decoder(*words):
    backend = Backend(models.WordLevel({word: n for n, word in enumerate([*SPECIAL, *words])}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **NAMES)


@pytest.mark.parametrize(
    ("tokenizer", "pieces"),
    [
        (word_piece("walk", "##ing", ".", "京", "##5"), ["##ing", "##5"]),
        (metaspace("▁walk", "ing", ".", "京", "é"), ["ing", "é"]),
        (byte_level("Ġwalk", "ing", ".", "äº¬", "Ã"), ["ing"]),
        (byte_level("a", "b", "äº¬"), []),  # no blank before any token: nothing tells words apart
        (without_decoder("a", "b"), []),
    ],
)
def test_pieces_of_words(tokenizer, pieces):
    texts = TokenTexts(tokenizer)
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert [name for token, name in enumerate(names) if texts.continues_word(token)] == pieces


@pytest.mark.parametrize("tokenizer", [word_piece("walk", "##ing"), without_decoder("a", "b")])
def test_an_id_that_is_no_token_has_no_text(tokenizer):
    """A model may know more ids than its tokenizer has tokens."""
    texts, beyond = TokenTexts(tokenizer), len(tokenizer) + 3
    assert not texts.continues_word(beyond)
    assert (texts.text(beyond), texts.after([beyond]).strip()) == ("", "")


def asked(tokenizer, blocks, positions):
    """Questions with a masked token at a position of each block."""
    block, position = np.arange(len(blocks)), np.array(positions)
    ids = np.array([tokenizer.convert_tokens_to_ids(tokens) for tokens in blocks], np.int32)
    masks = FrozenMasks(block, position, np.full(len(blocks), 3), ids[block, position])
    size = np.ones(len(blocks), np.int64)
    return Questions(block, ids, np.ones_like(ids), masks, block, Records(block, size, size, size, size))


@pytest.mark.parametrize(
    ("tokenizer", "before", "after"),
    [
        (byte_level("Ġa", "Ġwalk", "ing", ".", "b"), " a walk", "."),
        (word_piece("a", "walk", "##ing", ".", "b"), "a walk", "."),
    ],
)
def test_an_example_is_the_text_around_the_token_up_to_the_records_ends(tokenizer, before, after):
    a, walk, ing, dot, b = tokenizer.convert_ids_to_tokens(range(4, 9))
    questions = asked(tokenizer, [[b, "</s>", a, walk, ing, dot, "</s>", b]], [4])
    first = questions.masks.label * 0 + 7  # the model says "."
    scores = Scores(np.log([0.2]), first[:, None], np.log([0.6]))
    [worst] = worst_tokens(
        questions, tokenizer, scores, Scores(np.log([0.5]), first[:, None], np.log([0.5]))
    ).by_excess_loss
    assert worst.continues_word
    assert (worst.example.before, worst.example.after) == (before, after)
    assert (worst.example.guess.token_str, worst.example.guess.continues_word) == (".", False)
    assert worst.example.guess.score == pytest.approx(0.6)
    assert worst.example.probability == pytest.approx(0.2)
    assert worst.mean_loss == pytest.approx(-np.log(0.2))
    assert worst.excess_loss == pytest.approx(np.log(0.5) - np.log(0.2))
    # The blank between a word and what stands before it belongs to neither side's text alone.
    word = asked(tokenizer, [[b, "</s>", a, walk, ing, dot, "</s>", b]], [3])
    [worst] = worst_tokens(word, tokenizer, scores, Scores(np.log([0.5]), first[:, None], np.log([0.5]))).by_excess_loss
    assert (worst.example.before.strip(), worst.example.before[-1:], worst.example.after) == ("a", " ", "ing.")


def test_only_tokens_that_were_masked_often_enough_are_listed_by_their_mean_loss():
    tokenizer = byte_level("Ġa", "Ġb", "c", "d")
    blocks = [["Ġa", "c"]] * 10 + [["Ġb", "c"]] * 9
    questions = asked(tokenizer, blocks, [0] * 19)
    loss = np.where(questions.masks.label == 4, 2.0, 9.0)
    guesses = np.full((19, 1), 7)
    report = worst_tokens(
        questions, tokenizer, Scores(-loss, guesses, np.full(19, -1.0)), Scores(np.full(19, -3.0), guesses, loss * 0)
    )
    assert [(each.token_str, each.masked_tokens) for each in report.by_mean_loss] == [(" a", 10)]
    assert [(each.token_str, each.excess_loss) for each in report.by_excess_loss] == [(" b", 54.0)]
