"""The embedding read once: equal gradients in a traced step, and no copy of the variable."""

import numpy as np
import pytest
import tensorflow as tf

from components.masking.masking import IGNORED_LABEL
from components.modeling.library.adapter import LibraryMaskedLM
from components.modeling.library.head import embedding_read_once, masked_logits
from components.training.training_model import label_positions, masked_cross_entropy
from serving.graph.signatures import TokenSignatures
from tests.modeling.tiny_models import VOCABULARY, random_model, token_batch
from tests.table_reads import ROWS, WHOLE, reads_of_traced


def step(model, inputs, logits_at):
    labels = tf.constant(np.where(inputs["input_ids"] % 3 == 0, inputs["input_ids"], IGNORED_LABEL))
    positions, labels = label_positions(labels, 8)
    with tf.GradientTape() as tape:
        total, _ = masked_cross_entropy(logits_at(positions), labels)
    gradients = tape.gradient(total, model.trainable_variables)
    return [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]


@pytest.mark.parametrize(
    ("name", "compiled"),
    [
        ("roberta", True),
        *(pytest.param(name, False, marks=pytest.mark.slow) for name in ("roberta", "bert untied", "esm")),
    ],
)
def test_gradients_of_a_traced_step(name, compiled):
    model = random_model(name)
    inputs = token_batch()
    traced = tf.function(lambda: step(model, inputs, lambda at: masked_logits(model, inputs, at)), jit_compile=compiled)
    expected = step(model, inputs, lambda at: tf.gather(model(inputs).logits, at, batch_dims=1))
    for gradient, wanted, variable in zip(traced(), expected, model.trainable_variables, strict=True):
        if wanted is not None:
            np.testing.assert_allclose(gradient, wanted, atol=3e-5, rtol=1e-3, err_msg=variable.name)


def test_the_variable_is_read_once_and_rows_never():
    model = random_model("roberta")
    inputs = token_batch()
    graph = (
        tf.function(lambda: step(model, inputs, lambda at: masked_logits(model, inputs, at)))
        .get_concrete_function()
        .graph
    )
    embedding = next(variable for variable in model.trainable_variables if "word_embeddings" in variable.name)
    handle = next(inner for outer, inner in graph.captures if outer is embedding.handle)
    assert [operation.type for operation in handle.consumers()] == ["ReadVariableOp"]


def test_the_model_stays_ordinary():
    model = random_model("roberta")
    layer = model.get_input_embeddings()
    variable = layer.weight
    with embedding_read_once(model):
        assert not isinstance(layer.weight, tf.Variable)
    assert layer.weight is variable


@pytest.mark.parametrize("name", ["roformer", "esm", "mobilebert"])
@pytest.mark.filterwarnings("ignore:The initializer TruncatedNormal is unseeded")
def test_an_exported_model_reads_what_it_looks_up_in_no_other_way(name):
    model = random_model(name)
    exported = TokenSignatures(LibraryMaskedLM(model), 4, top_k=3, max_sequence_length=32)
    logits = exported.logits.get_concrete_function()
    reads = reads_of_traced(logits, model.weights)
    embeddings = model.get_input_embeddings().trainable_variables
    [embedding] = [variable for variable in embeddings if variable.shape[0] == VOCABULARY]
    assert reads[embedding.name] == {WHOLE}
    assert [table for table, kinds in reads.items() if kinds == {ROWS, WHOLE}] == []
    inputs = {key: tf.constant(value) for key, value in token_batch().items()}
    np.testing.assert_allclose(logits(**inputs)["logits"], model(inputs).logits, atol=1e-4)
