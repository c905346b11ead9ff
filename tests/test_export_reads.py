"""The exported graph of every architecture: what's read whole, such as a tied decoder's table, isn't copied."""

import gc
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from test_export import finished, train_tokenizer

from components.contract.artifacts import Checkpoint, Tokenizer
from components.export import Export
from components.modeling.checkpoint import load_masked_lm
from components.modeling.configuration import masked_lm_model_types
from serving.server.models.saved_model import SavedModel
from tests.modeling.tiny_models import SIZES, VARIANTS, random_model, token_batch
from tests.table_reads import ROWS, WHOLE, reads_of_saved

# The library's class can't be traced with a free length.
NOT_EXPORTABLE = {"funnel factorized"}


@pytest.fixture(autouse=True)
def memory_is_given_back():
    """Keras models are cycles, and each export's graphs take hundreds of megabytes."""
    yield
    tf.keras.backend.clear_session()
    gc.collect()


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer()


@pytest.mark.slow  # test_export.py and test_embedding_read.py have a few in the default run
@pytest.mark.parametrize("name", [*masked_lm_model_types(), *sorted(VARIANTS.keys() - NOT_EXPORTABLE)])
@pytest.mark.filterwarnings("ignore:The initializer TruncatedNormal is unseeded")
def test_no_table_is_both_looked_up_and_read_whole(name: str, tokenizer, tmp_path: Path) -> None:
    model_type, values = VARIANTS.get(name, (name, {}))
    model = random_model(model_type, **{**SIZES.get(model_type, {}), **values, "vocab_size": len(tokenizer)})
    model.save_pretrained(tmp_path / "checkpoint/model")
    tokenizer.save_pretrained(tmp_path / "tokenizer/tokenizer")
    step = Export(finished(Checkpoint, tmp_path / "checkpoint"), finished(Tokenizer, tmp_path / "tokenizer"))
    (tmp_path / "out").mkdir()
    step.run(tmp_path / "out")

    directory = tmp_path / "out/saved_model"
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    reads = reads_of_saved(saved.meta_graphs[0])
    assert [table for table, kinds in reads.items() if kinds == {ROWS, WHOLE}] == []
    # Every variable was found, and those that stay looked up, such as positions, are read in no other way.
    assert "?" not in reads
    words = [table for table in reads if "word_embeddings" in table or table.endswith("transformer/embeddings/weight")]
    assert {kind for table in words for kind in reads[table]} == {WHOLE}

    served = SavedModel(directory)
    inputs = token_batch()
    expected = load_masked_lm(tmp_path / "checkpoint/model")(inputs).logits
    np.testing.assert_allclose(served.run("logits", inputs)["logits"], expected, atol=1e-4)
    served.close()


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
