"""Hash tables that travel with the graph."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


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
