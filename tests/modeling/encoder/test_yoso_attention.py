"""Attention by chances of equal hashes, against hashes that are drawn."""

import numpy as np
import tensorflow as tf

from components.modeling.encoder.yoso_attention import YosoAttention, of_length_one

BITS, DRAWN = 3, 40_000


def heads(seed, *shape):
    return np.random.default_rng(seed).normal(size=(1, 1, *shape)).astype(np.float32)


def test_a_weight_is_how_often_hashes_are_equal():
    """A bit is the side of a random plane on which a vector lies."""
    query, key, value = heads(0, 4, 8), heads(1, 4, 8), heads(2, 4, 8)
    planes = np.random.default_rng(3).normal(size=(8, DRAWN * BITS))
    sides = [(vectors[0, 0] @ planes > 0).reshape(4, DRAWN, BITS) for vectors in (query, key)]
    often = (sides[0][:, None] == sides[1][None]).all(axis=-1).mean(axis=-1)  # (queries, keys)
    expected = of_length_one(tf.constant(often @ value[0, 0], tf.float32))
    np.testing.assert_allclose(YosoAttention(BITS)(query, key, value, None)[0, 0], expected, atol=0.03)


def test_a_vector_meets_itself_with_a_finite_gradient():
    """Also where rounding makes the cosine larger than 1."""
    vectors = tf.constant(np.repeat(heads(0, 1, 64), 5, axis=2))
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        given = tf.reduce_sum(YosoAttention(BITS)(vectors, vectors, vectors, None) ** 3)
    assert np.isfinite(given)
    assert np.isfinite(tape.gradient(given, vectors)).all()


def test_what_is_not_seen_has_no_part():
    query, key, value = heads(0, 4, 8), heads(1, 4, 8), heads(2, 4, 8)
    seen = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], bool)[None, None]
    whole = YosoAttention(BITS)(query, key, value, seen)
    for part in (slice(0, 2), slice(2, 4)):
        alone = YosoAttention(BITS)(query[:, :, part], key[:, :, part], value[:, :, part], None)
        np.testing.assert_allclose(whole[:, :, part], alone, atol=1e-6)
