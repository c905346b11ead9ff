"""Lookup tables that are saved with the graph: by any key, and by code point."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_PAGE = 256


def hash_table(
    keys: Sequence[bytes] | np.ndarray, values: Sequence[int] | np.ndarray, default: int
) -> tf.lookup.StaticHashTable:
    """A table of whole numbers, which may be empty.

    Args:
        keys: Distinct strings, or distinct int64.
        values: An int64 for each key.
        default: What any other key gives.
    """
    if not len(keys):
        # TensorFlow refuses an empty table; this key gives what any other one gives.
        keys, values = (np.zeros(1, np.int64) if isinstance(keys, np.ndarray) else [b""]), [default]
    initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(values, tf.int64))
    return tf.lookup.StaticHashTable(initializer, default)


class CodePointTable(tf.Module):
    """A number for each code point, looked up with two gathers.

    The table is kept in pages of 256, each distinct page once, so that it takes kilobytes in a SavedModel
    and not megabytes.

    Args:
        values: (0x110000,) integers, by code point.
    """

    def __init__(self, values: Sequence[int] | np.ndarray) -> None:
        super().__init__()
        pages, page_of = np.unique(np.asarray(values, np.int32).reshape(-1, _PAGE), axis=0, return_inverse=True)
        self._offsets = tf.constant(page_of.reshape(-1) * _PAGE, tf.int32)
        self._values = tf.constant(pages.reshape(-1), tf.int32)

    def __call__(self, points: tf.Tensor) -> tf.Tensor:
        """Looks up code points (any shape) int32; the same shape, int32."""
        page = tf.gather(self._offsets, tf.bitwise.right_shift(points, 8))
        return tf.gather(self._values, page + tf.bitwise.bitwise_and(points, _PAGE - 1))
