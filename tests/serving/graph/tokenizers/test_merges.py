"""Merges of any order give the fast tokenizer's tokens, in short words and in long ones."""

import os
import random

import numpy as np
import pytest
import tensorflow as tf

from serving.graph.tokenizers.merges import Merges

LETTERS = "abc"


def random_model(generator, longest, in_order=False):
    """A vocabulary whose every token may be made in all ways, as converters write it, with ranks in any order."""
    tokens = list(LETTERS)
    for _ in range(generator.randrange(3, 25)):
        token = generator.choice(tokens) + generator.choice(tokens)
        if len(token) <= longest and token not in tokens:
            tokens.append(token)
    ranked = tokens[len(LETTERS) :]
    if not in_order:
        generator.shuffle(ranked)
    merges = [
        (token[:cut], token[cut:])
        for token in ranked
        for cut in range(1, len(token))
        if token[:cut] in tokens and token[cut:] in tokens
    ]
    if not in_order and generator.random() < 0.3:
        generator.shuffle(merges)
    return {"type": "BPE", "vocab": {token: number for number, token in enumerate(tokens)}, "merges": merges}


def random_words(generator, number, longest):
    """Words of random letters, and of the same few letters again and again."""
    words = []
    for _ in range(number):
        part = "".join(generator.choices(LETTERS, k=generator.randrange(1, 9)))
        length = generator.randrange(1, longest)
        words.append(
            (part * length)[:length] if generator.random() < 0.5 else "".join(generator.choices(LETTERS, k=length))
        )
    return words


def differences(model, words):
    """Words that the merges cut otherwise than the fast tokenizer's."""
    from tokenizers import Tokenizer, models

    fast = Tokenizer(models.BPE(model["vocab"], model["merges"]))
    merges = Merges(model)
    parts = np.array([model["vocab"][letter] for word in words for letter in word], np.int64)
    lengths = np.array([len(word) for word in words], np.int64)
    ids, word_of = merges(tf.constant(parts), tf.constant(lengths))
    found = np.split(ids.numpy(), np.searchsorted(word_of.numpy(), np.arange(1, len(words))))
    return [
        (word, encoding.tokens, tokens.tolist())
        for word, encoding, tokens in zip(words, fast.encode_batch(words), found, strict=True)
        if encoding.ids != tokens.tolist()
    ]


@pytest.mark.parametrize("longest", [3, 6])
def test_merges_of_any_order(longest):
    generator = random.Random(longest)
    for _ in range(2):
        model = random_model(generator, longest)
        assert not differences(model, random_words(generator, 40, 2 * longest))
        assert not differences(model, random_words(generator, 40, 120))


def test_merges_in_order():
    generator = random.Random(1)
    assert not differences(random_model(generator, 5, in_order=True), random_words(generator, 40, 120))


@pytest.mark.slow
def test_many_models():
    """`MERGES_MODELS=1000` tries a thousand vocabularies."""
    generator = random.Random(2)
    for _ in range(int(os.environ.get("MERGES_MODELS", "20"))):
        model = random_model(generator, generator.randrange(2, 8), in_order=generator.random() < 0.2)
        assert not differences(model, random_words(generator, 60, 250)), model
