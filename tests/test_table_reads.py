"""The check of an exported graph's reads of variables finds a table that is copied."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.table_reads import ROWS, WHOLE, reads_of_saved


def test_the_check_finds_a_copied_table(tmp_path: Path) -> None:
    class Tied(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = tf.Variable(np.ones((9, 4), np.float32), name="table")
            self.positions = tf.Variable(np.ones((5, 4), np.float32), name="positions")

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
        def call(self, ids):
            hidden = tf.gather(self.table, ids) + tf.gather(self.positions, tf.range(tf.size(ids)))
            # The head's read is in a function of a function, as it is in the signatures.
            return tf.map_fn(lambda one: tf.linalg.matvec(self.table, one), hidden)

    module = Tied()
    tf.saved_model.save(module, str(tmp_path), signatures=module.call)
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    assert reads_of_saved(saved.meta_graphs[0]) == {"table": {ROWS, WHOLE}, "positions": {ROWS}}
