"""The parts of the unigram tokenizer, each against a plain one or the library's own."""

import functools
import itertools

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.graph.tokenizers.unigram import PieceTable, best_path


@given(
    st.lists(st.text("abcdé\0", min_size=1, max_size=5), min_size=1, unique=True),
    st.lists(st.text("abcdé\0", min_size=1, max_size=9), min_size=1),
)
@settings(deadline=None, max_examples=50)
def test_every_piece_is_found_where_it_begins(pieces, words):
    points = [ord(character) for word in words for character in word]
    left = [len(word) - index for word in words for index in range(len(word))]
    found, index = PieceTable(pieces)(tf.constant(points), tf.constant(left, tf.int64))
    begins = np.cumsum([0, *map(len, words)])
    expected = {
        (begin + place, len(piece) - 1, number)
        for begin, word in zip(begins, words, strict=False)
        for place in range(len(word))
        for number, piece in enumerate(pieces)
        if word.startswith(piece, place)
    }
    assert {(*place, number) for place, number in zip(found.numpy().tolist(), index.numpy(), strict=True)} == expected


def plain_best_path(scores, width):
    """The library's loop, over one word: scores (characters, width)."""
    best, before = [0.0], [0]
    for end in range(1, len(scores) + 1):
        best.append(-np.inf)
        before.append(0)
        for begin in range(max(0, end - width), end):
            candidate = scores[end - 1][width - (end - begin)] + best[begin]
            if candidate > best[end]:
                best[end], before[end] = candidate, begin
    lengths, end = [0] * len(scores), len(scores)
    while end:
        lengths[end - 1] = end - before[end]
        end = before[end]
    return lengths


@functools.cache
def in_graph(width):
    specs = [tf.TensorSpec([None, width], tf.float64), tf.TensorSpec([None], tf.int64)]
    return tf.function(best_path, input_signature=specs, autograph=False)


@given(st.lists(st.integers(1, 30), max_size=8), st.integers(2, 5), st.integers(0, 1000), st.booleans())
@settings(deadline=None, max_examples=100)
def test_best_path_is_the_plain_loops(lengths, width, seed, ties):
    generator = np.random.default_rng(seed)
    scores = -generator.integers(1, 4, (sum(lengths), width)) * (1.0 if ties else 0.1)
    scores[generator.random(scores.shape) < 0.4] = -np.inf
    scores[:, -1] = np.maximum(scores[:, -1], -9)
    splits = np.cumsum([0, *lengths])
    found = in_graph(width)(tf.constant(scores), tf.constant(splits, tf.int64)).numpy()
    for begin, end in itertools.pairwise(splits):
        assert found[begin:end].tolist() == plain_best_path(scores[begin:end], width)
