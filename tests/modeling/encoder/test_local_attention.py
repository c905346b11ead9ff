"""Attention by chunks, against the formula of attention with every pair of tokens, in NumPy and in TensorFlow."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.modeling.encoder.attention import NEVER, attention
from components.modeling.encoder.local_attention import (
    SHORT,
    SMALLEST_CHUNK,
    local_attention,
    with_neighbors,
    without_chunks,
)
from components.modeling.library.dropout import dropped

LONG = SHORT * SMALLEST_CHUNK + 1
"""The first length that is cut into chunks, for windows up to `SMALLEST_CHUNK`."""


def vectors(batch, heads, length, size, dtype=tf.float32):
    """Query, key, value, and the gradient from above."""
    random = np.random.default_rng(length)
    return [tf.constant(random.normal(size=(batch, heads, length, size)), dtype) for _ in range(4)]


def by_all_pairs(query, key, value, document_ids, window):
    """The same by its definition: a (sequence, sequence) mask."""
    places = np.arange(document_ids.shape[1])
    seen = (document_ids[:, :, None] == document_ids[:, None, :]) & (abs(places[:, None] - places) <= window)
    return attention(query, key, value, tf.constant(np.where(seen, 0.0, NEVER)[:, None], tf.float32))


def with_gradients(function, query, key, value, upstream):
    with tf.GradientTape() as tape:
        tape.watch([query, key, value])
        context = function(query, key, value)
    return [context, *tape.gradient(context, [query, key, value], upstream)]


def assert_same(found, expected, tolerance=2e-6):
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(tf.cast(ours, tf.float32), tf.cast(theirs, tf.float32), rtol=0, atol=tolerance)


@st.composite
def packed(draw):
    """Document ids, (batch, length), with padding anywhere."""
    batch, length = draw(st.integers(0, 2)), draw(st.integers(0, 3 * LONG))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    boundaries = random.random((batch, length)) < draw(st.sampled_from([0.0, 0.02, 0.5]))
    return np.cumsum(boundaries, axis=1) % draw(st.sampled_from([1, 3, 500])) + draw(st.sampled_from([0, 1]))


@given(packed(), st.integers(1, 70), st.integers(1, 3))
@example(np.ones((1, LONG), np.int32), SMALLEST_CHUNK, 1)
@example(np.ones((2, 6 * SMALLEST_CHUNK), np.int32), 1, 1)
@settings(max_examples=15)
def test_outputs_and_gradients_are_those_of_all_pairs(document_ids, window, heads):
    *tensors, upstream = vectors(len(document_ids), heads, document_ids.shape[1], 4)
    ours = functools.partial(local_attention, document_ids=tf.constant(document_ids), window=window)
    with without_chunks():
        assert_same([ours(*tensors)], [by_all_pairs(*tensors, document_ids, window)])
    theirs = functools.partial(by_all_pairs, document_ids=document_ids, window=window)
    assert_same(with_gradients(ours, *tensors, upstream), with_gradients(theirs, *tensors, upstream))


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_graph_need_not_know_a_shape(jit_compile):
    unknown, ids = tf.TensorSpec((None, None, None, 4)), tf.TensorSpec((None, None), tf.int32)

    @tf.function(input_signature=[unknown] * 4 + [ids], jit_compile=jit_compile, autograph=False)
    def step(query, key, value, upstream, ids):
        function = functools.partial(local_attention, document_ids=ids, window=20)
        return with_gradients(function, query, key, value, upstream)

    for batch, length in ((2, 3), (1, 200), (0, 200), (2, 0)):
        *tensors, upstream = vectors(batch, 2, length, 4)
        ids = np.repeat([[1, 2, 0]], length, axis=1)[:, :length].repeat(batch, axis=0).astype(np.int32)
        expected = with_gradients(functools.partial(by_all_pairs, document_ids=ids, window=20), *tensors, upstream)
        assert_same(step(*tensors, upstream, tf.constant(ids)), expected)


def test_weights_are_computed_in_float32_under_bfloat16():
    *tensors, upstream = vectors(1, 2, 200, 8, tf.bfloat16)
    ids = np.ones((1, 200), np.int32)
    ours = with_gradients(
        functools.partial(local_attention, document_ids=tf.constant(ids), window=20), *tensors, upstream
    )
    theirs = with_gradients(functools.partial(by_all_pairs, document_ids=ids, window=20), *tensors, upstream)
    assert {tensor.dtype for tensor in ours} == {tf.bfloat16}
    # Forward, only the order of the sums differs; their last bit is 2**-8 of them.
    assert_same(ours[:1], theirs[:1], 0.02)
    assert_same(ours[1:], theirs[1:], 0.1)


def test_what_is_dropped_is_a_function_of_the_key():
    *tensors, upstream = vectors(1, 2, 200, 4)
    ids = tf.ones((1, 200), tf.int32)

    def recomputed(key):
        drop = functools.partial(dropped, rate=0.5, key=tf.constant(key, tf.uint32), call=0)
        function = functools.partial(local_attention, document_ids=ids, window=20, dropout=drop)
        return with_gradients(tf.recompute_grad(function), *tensors, upstream), with_gradients(
            function, *tensors, upstream
        )

    (again, once), (other, _) = recomputed([1, 2]), recomputed([1, 3])
    assert_same(again, once, 0)
    assert np.abs(once[0] - other[0]).max() > 0.1


def test_chunks_stand_between_the_ends_of_their_neighbors():
    chunks = tf.reshape(tf.range(1, 10), (1, 1, 3, 3, 1))
    expected = [[0, 0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 6, 7, 8], [5, 6, 7, 8, 9, 0, 0]]
    np.testing.assert_array_equal(with_neighbors(chunks, 2)[0, 0, :, :, 0], expected)


def test_no_tensor_grows_with_the_square_of_the_length():
    """The same at every length: elements of the largest tensor in the graph, for each token."""
    largest = []
    for length in (1024, 4096):
        graph = tf.function(functools.partial(local_attention, window=64), autograph=False).get_concrete_function(
            *[tf.TensorSpec((1, 2, length, 4))] * 3, document_ids=tf.TensorSpec((1, length), tf.int32)
        )
        shapes = [output.shape for operation in graph.graph.get_operations() for output in operation.outputs]
        largest.append(max(shape.num_elements() for shape in shapes) / length)
    assert largest[0] == largest[1] == 2 * 3 * 64
