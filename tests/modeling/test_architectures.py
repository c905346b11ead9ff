"""One battery over the records of `components.modeling.architectures`: what must hold for every architecture.

A model of each record and of each of its variants goes through all of it. What takes long is marked slow, but for a
few architectures that stand for the others.
"""

import contextlib
import gc
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from transformers.models.auto.modeling_tf_auto import TF_MODEL_FOR_MASKED_LM_MAPPING_NAMES

from components.contract.artifacts import Checkpoint, Tokenizer
from components.export import Export
from components.masking.masking import IGNORED_LABEL
from components.modeling.architectures.records import ARCHITECTURES, architecture_of
from components.modeling.checkpoint import load_masked_lm, save_masked_lm
from components.modeling.configuration import require_packable, require_positions
from components.modeling.encoder.model import EncoderForMaskedLM
from components.modeling.library.adapter import as_masked_lm
from components.modeling.pytorch_weights import pytorch_weights, save_pytorch_weights
from components.training.training_model import label_positions, masked_cross_entropy
from foundation.errors import ConfigError, ModelError
from serving.server.models.saved_model import SavedModel
from tests.modeling.tiny_models import (
    BATCH,
    BATTERY,
    EVERY_MODEL,
    LENGTH,
    MODELS,
    SHORT_BATTERY,
    SHORTEST_BATTERY,
    VOCABULARY,
    all_slow_but,
    random_model,
    token_batch,
)
from tests.own_environment import EnvironmentMissing, python_with
from tests.table_reads import ROWS, WHOLE, reads_of_saved
from tests.test_export import finished, train_tokenizer

PREDICTIONS = 5
PYTORCH_SCRIPT = Path(__file__).with_name("pytorch_logits.py")
DOCUMENTS = np.array([[1] * 7 + [2] * 9, [1] * 4 + [2] * 8 + [0] * 4], np.int16)
"""(BATCH, LENGTH): two packed documents a block; the second block ends in padding."""
OTHER_TOKEN = 4
EMBEDDINGS_OF_WORDS = (
    r"word_embeddings|tok_embeddings|embed_tokens|shared.weight|(transformer/|preprocessor\.)embeddings[/.]weight$"
)
"""Their tables, by what variables are called."""


def every_model(quick=tuple(MODELS)):
    """The battery's parameter: every model, those that are not quick marked slow."""
    return pytest.mark.parametrize("name", all_slow_but(quick, MODELS))


OF_THE_LIBRARY = tuple(name for name, (model_type, _) in MODELS.items() if ARCHITECTURES[model_type].design is None)
"""Those of transformers' TensorFlow classes; `encoder/test_pytorch_agrees.py` compares the others with PyTorch."""
PLAIN = (
    "albert",
    "convbert",
    "deberta-v2",
    "distilbert",
    "funnel",
    "mobilebert",
    "modernbert",
    "roberta",
    "xlm",
    "xmod",
)
"""Those that are tried every day."""


def test_every_masked_lm_of_the_library_has_a_record():
    of_the_library = {name for name, record in ARCHITECTURES.items() if record.design is None}
    assert of_the_library == set(TF_MODEL_FOR_MASKED_LM_MAPPING_NAMES)


@pytest.mark.parametrize("name", ["deberta", "deberta relative", "funnel", "longformer", "roberta"])
def test_those_that_branch_on_a_tensor_need_autograph(name):
    """And no others: it takes long."""
    masked_lm = as_masked_lm(random_model(name))
    branches = architecture_of(masked_lm.config).branches_on_tensors(masked_lm.config)
    for method in (masked_lm.hidden, masked_lm.logits):
        graph = tf.function(
            lambda ids, mask, method=method: method({"input_ids": ids, "attention_mask": mask}),
            input_signature=[tf.TensorSpec([None, None], tf.int32)] * 2,
            autograph=False,
        )
        with pytest.raises(tf.errors.OperatorNotAllowedInGraphError) if branches else contextlib.nullcontext():
            graph.get_concrete_function()


def assert_same_gradients(model, gradients, expected):
    assert any(gradient is not None for gradient in gradients)
    for variable, gradient, wanted in zip(model.trainable_variables, gradients, expected, strict=True):
        assert (gradient is None) == (wanted is None), variable.name
        if gradient is not None:
            gradient, wanted = tf.convert_to_tensor(gradient), tf.convert_to_tensor(wanted)
            np.testing.assert_allclose(gradient, wanted, atol=3e-5, rtol=1e-3, err_msg=variable.name)


@every_model(quick=PLAIN)
def test_the_head_at_positions_is_the_dense_one(name):
    """In logits, loss and gradients; and so is the head apart from what it is given."""
    model = random_model(name)
    inputs = {key: tf.constant(value) for key, value in token_batch().items()}
    labels = np.full((BATCH, LENGTH), IGNORED_LABEL, np.int64)
    labels[0, [1, 4, 5, 9, 15]] = [7, 8, 9, 10, 11]
    labels[1, [0, 3]] = [12, 13]
    positions, labels_there = label_positions(tf.constant(labels), PREDICTIONS)
    adapted = as_masked_lm(model)
    with tf.GradientTape() as tape:
        every_logit = tf.cast(model(inputs, training=False).logits, tf.float32)
        total, count = masked_cross_entropy(every_logit, tf.constant(labels, tf.int32))
        dense_loss = total / count
    dense_gradients = tape.gradient(dense_loss, model.trainable_variables)
    with tf.GradientTape() as tape:
        logits = adapted.logits_at(inputs, positions)
        total, count = masked_cross_entropy(logits, labels_there)
        loss = total / count
    gradients = tape.gradient(loss, model.trainable_variables)

    assert logits.shape == (BATCH, PREDICTIONS, model.config.vocab_size)
    np.testing.assert_allclose(logits, tf.gather(every_logit, positions, batch_dims=1), atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(loss, dense_loss, atol=1e-6, rtol=1e-5)
    assert_same_gradients(model, gradients, dense_gradients)
    np.testing.assert_allclose(adapted.logits(inputs), every_logit, atol=1e-5)
    np.testing.assert_allclose(adapted.head(adapted.hidden(inputs)), every_logit, atol=1e-4)


@every_model(quick=("albert", "convbert", "esm", "mobilebert", "mpnet", "rembert", "roberta", "roformer"))
def test_weights_are_saved_and_loaded(name, tmp_path):
    """As Keras writes them, and as PyTorch reads them: bit for bit."""
    model = random_model(name)
    logits = model(token_batch(), training=False).logits.numpy()

    class NoTokenizer:
        def save_pretrained(self, directory):
            """A model is saved with one, which has no part in this."""

    save_masked_lm(model, NoTokenizer(), tmp_path / "keras")
    np.testing.assert_array_equal(load_masked_lm(tmp_path / "keras")(token_batch()).logits, logits)
    (tmp_path / "pytorch").mkdir()
    save_pytorch_weights(model, tmp_path / "pytorch")
    again = load_masked_lm(tmp_path / "pytorch")
    # The weights are the same bit for bit, see below; a matrix stored transposed may be summed in another order.
    np.testing.assert_allclose(again(token_batch()).logits, logits, rtol=0, atol=1e-6)
    before, after = pytorch_weights(model)[0], pytorch_weights(again)[0]
    assert before.keys() == after.keys()
    for key, array in before.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, after[key], err_msg=key)


@pytest.fixture(scope="module")
def pytorch_folders(tmp_path_factory):
    """A checkpoint of every model of the library's, with what Keras answers."""
    directory = tmp_path_factory.mktemp("checkpoints")
    batch = token_batch()
    for name in OF_THE_LIBRARY:
        model = random_model(name)
        folder = directory / name
        folder.mkdir()
        save_pytorch_weights(model, folder)
        logits = model(batch, training=False).logits.numpy()
        np.savez(folder / "expected.npz", logits=logits, **{key: ids.astype(np.int64) for key, ids in batch.items()})
    return directory


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("major", ["4", "5"])
def test_pytorchs_logits_are_the_same(major, pytorch_folders):
    """Within 1e-4, in transformers 4 and 5."""
    try:
        python = python_with(f"PyTorch, transformers {major}")
    except EnvironmentMissing as error:
        pytest.skip(str(error))
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([python, PYTORCH_SCRIPT, pytorch_folders], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["transformers"].split(".")[0] == major
    results = answer["results"]
    assert results.keys() == set(OF_THE_LIBRARY)
    assert {name: result["mismatches"] for name, result in results.items() if result["mismatches"]} == {}
    assert {name: r["difference"] for name, r in results.items() if not r["difference"] <= 1e-4} == {}


def packed_logits(model, ids):
    inputs = {"input_ids": tf.constant(ids), "attention_mask": tf.constant(DOCUMENTS)}
    if (positions := as_masked_lm(model).position_ids(DOCUMENTS)) is not None:
        inputs["position_ids"] = tf.constant(positions)
    return model(inputs).logits.numpy()


def with_another_first_document(ids):
    """Other tokens in the first document of the first block."""
    other = ids.copy()
    inside = DOCUMENTS[0] == 1
    other[0, inside] = np.where(np.arange(inside.sum()) % 2, OTHER_TOKEN, (other[0, inside] - 5 + 1) % 90 + 5)
    return other


@every_model(quick=(*PLAIN, "deberta relative", "deberta-v2 in buckets", "esm rotary", "mobilebert without trigrams"))
def test_packed_documents_do_not_see_each_other(name):
    """A change in one changes nothing in another, and each is as if it stood alone; else packing is refused."""
    model = random_model(name)
    if reason := architecture_of(model.config).why_not_packable(model.config):
        with pytest.raises(ConfigError, match="packing packed, the architecture must be one") as refusal:
            require_packable(model.config)
        assert refusal.value.received.endswith(f": {reason}")
        return
    require_packable(model.config)
    if model.config.model_type == "roformer":  # its table of rotations is a weight, which the random model has changed
        table = model.roformer.encoder.embed_positions
        table.weight.assign(tf.cast(table._init_weight(*table.weight.shape), tf.float32))
    as_masked_lm(model).keep_documents_apart()
    ids = np.random.default_rng(0).integers(5, VOCABULARY - 1, DOCUMENTS.shape).astype(np.int32)
    ids = np.where(DOCUMENTS == 0, 1, ids)
    before, after = packed_logits(model, ids), packed_logits(model, with_another_first_document(ids))
    np.testing.assert_array_equal(before[0, 7:], after[0, 7:])
    np.testing.assert_array_equal(before[1], after[1])
    assert np.abs(before[0, :7] - after[0, :7]).min(axis=1).max() > 1e-4
    assert np.isfinite(before).all()
    for row, document in ((0, 1), (0, 2), (1, 1), (1, 2)):
        inside = DOCUMENTS[row] == document
        alone = {"input_ids": ids[row : row + 1, inside], "attention_mask": np.ones((1, inside.sum()), np.int32)}
        alone = model({key: tf.constant(each) for key, each in alone.items()}).logits[0]
        np.testing.assert_allclose(before[row, inside], alone, atol=1e-5)


@every_model(quick=("bert", "distilbert", "mpnet", "roberta", "roformer"))
def test_the_longest_sequence_is_the_longest_that_runs(name):
    model = random_model(name)
    longest = architecture_of(model.config).longest_sequence(model.config)
    ids = np.full((1, (longest or 200) + 1), 7)
    if longest is None:
        assert model(ids).logits.shape[1] == 201
        return
    assert model(ids[:, 1:]).logits.shape[1] == longest
    # Longformer pads to its window, and TAPAS uses its table's last row for all later positions. Where there is no
    # table, or the limit is shorter, it is what the configuration says that the model is meant for.
    is_ours = isinstance(model, EncoderForMaskedLM)
    has_table = not is_ours or (model.design.has_table_of_positions and not model.design.longest)
    if has_table and model.config.model_type not in ("longformer", "tapas"):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError, IndexError)):
            model(ids)
    require_positions(model.config, longest)
    with pytest.raises(ConfigError, match=rf"must be at most .* {longest} tokens.*of {longest + 1} tokens"):
        require_positions(model.config, longest + 1)


WITH_OTHER_TABLES = (
    SHORT_BATTERY
    if EVERY_MODEL
    else ["albert", "fnet", "luke", "mobilebert", "xlm", "xmod", *(name for name in BATTERY if "untied" in name)]
)
"""Models that look words up, or give them, in another way than most."""


@pytest.fixture(scope="module")
def tokenizers():
    """By whether a tokenizer can be in the graph: one that can, and one that can't."""
    return {in_graph: train_tokenizer(not_in_graph=not in_graph) for in_graph in (True, False)}


@pytest.fixture
def memory_is_given_back():
    """Keras models are cycles, and each export's graphs take hundreds of megabytes."""
    yield
    tf.keras.backend.clear_session()
    gc.collect()


# With text signatures, whose graphs take longer to make, those of the shortest battery alone.
@pytest.mark.slow  # test_export.py and test_embedding_read.py have a few in the default run
@pytest.mark.parametrize("name", sorted({*SHORTEST_BATTERY, *WITH_OTHER_TABLES}))
@pytest.mark.filterwarnings("ignore:The initializer TruncatedNormal is unseeded")
def test_the_export_answers_as_the_model_and_copies_no_table(name, tokenizers, tmp_path, memory_is_given_back):
    """No table is both looked up by rows and read whole, such as a tied decoder's: a server would copy it."""
    tokenizer = tokenizers[name in SHORTEST_BATTERY]
    model = random_model(name, vocab_size=len(tokenizer))
    save_masked_lm(model, tokenizer, tmp_path / "checkpoint/model")
    tokenizer.save_pretrained(tmp_path / "tokenizer/tokenizer")
    step = Export(finished(Checkpoint, tmp_path / "checkpoint"), finished(Tokenizer, tmp_path / "tokenizer"))
    (tmp_path / "out").mkdir()
    if architecture_of(model.config).why_not_exported(model.config):
        with pytest.raises(ModelError, match="any length"):
            step.run(tmp_path / "out")
        return
    step.run(tmp_path / "out")

    directory = tmp_path / "out/saved_model"
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    reads = reads_of_saved(saved.meta_graphs[0])
    assert [table for table, kinds in reads.items() if kinds == {ROWS, WHOLE}] == []
    # Every variable was found, and those that stay looked up, such as positions, are read in no other way.
    assert "?" not in reads
    words = [table for table in reads if re.search(EMBEDDINGS_OF_WORDS, table)]
    assert {kind for table in words for kind in reads[table]} == {WHOLE}

    served = SavedModel(directory)
    inputs = token_batch()
    inputs["input_ids"] %= len(tokenizer)
    expected = load_masked_lm(tmp_path / "checkpoint/model")(inputs).logits
    np.testing.assert_allclose(served.run("logits", inputs)["logits"], expected, atol=1e-4)
    served.close()
