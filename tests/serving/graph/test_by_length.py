"""Rows of like lengths go through the model together, and each gives what it gives by itself."""

import numpy as np
import pytest
import tensorflow as tf

from serving.graph.by_length import run_by_length


@pytest.mark.parametrize("is_exact", [True, False])
def test_rows_of_like_lengths_go_together(is_exact):
    seen = []

    def forward(ids, mask):
        seen.append((ids.shape.as_list(), int(tf.reduce_sum(mask))))
        return tf.cast(ids, tf.float32)[:, :, None]

    lengths = [3, 40, 3, 30, 18, 5]
    ids = np.zeros([6, 40], np.int32)
    for row, length in enumerate(lengths):
        ids[row, :length] = 100 * row + np.arange(length)
    mask = tf.sequence_mask(lengths, 40, tf.int32)
    places = tf.where(mask > 0)
    values = run_by_length(forward, tf.constant(ids), mask, tf.constant(lengths), places, is_exact=is_exact)
    np.testing.assert_array_equal(values[:, 0], ids[mask.numpy() > 0])
    shapes = [shape for shape, _ in seen]
    if is_exact:
        assert shapes == [[1, 40], [1, 30], [1, 18], [1, 5], [2, 3]]
    else:
        assert shapes == [[2, 40], [1, 18], [3, 5]]
