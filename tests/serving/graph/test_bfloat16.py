"""A model with its matrices in bfloat16: nearly the same answers, half the memory, nothing that a server lacks."""

import gc

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.modeling.architectures.records import architecture_of
from components.modeling.library.adapter import as_masked_lm
from serving.graph.bfloat16 import Bfloat16Model
from serving.graph.token_signatures import TokenSignatures
from tests.modeling.tiny_models import all_slow_but, random_model

LENGTHS = [12, 7, 9]
QUICK = ("roberta", "deberta-v2", "modernbert")
ROUNDING = 2.0**-8
"""Of one number in bfloat16, relative to it."""
IN_BFLOAT16 = {
    *("MatMul", "BatchMatMulV2", "Einsum", "BiasAdd", "Cast", "Const", "ReadVariableOp", "ResourceGather", "GatherV2"),
    *("Reshape", "Transpose", "ExpandDims", "Squeeze", "StridedSlice", "Slice", "Split", "SplitV", "Unpack"),
    *("Mul", "RealDiv", "AddV2", "Neg", "Erf", "Erfc", "Identity"),
}
"""What stock TensorFlow has kernels for on a CPU, of bfloat16."""


@pytest.fixture(autouse=True)
def memory_is_given_back():
    yield
    tf.keras.backend.clear_session()
    gc.collect()


def inputs():
    mask = tf.sequence_mask(LENGTHS, max(LENGTHS), tf.int32)
    ids = np.random.default_rng(0).integers(5, 90, mask.shape)
    return {"input_ids": tf.constant(ids, tf.int32), "attention_mask": mask}


@pytest.mark.parametrize("name", all_slow_but(QUICK))
def test_answers_are_those_of_float32_but_for_rounding(name):
    model = as_masked_lm(random_model(name))
    if architecture_of(model.config).why_not_exported(model.config):
        pytest.skip("isn't exported")
    in_bfloat16 = Bfloat16Model(model)
    is_token = inputs()["attention_mask"].numpy() == 1
    expected, found = (form.logits(inputs()).numpy()[is_token] for form in (model, in_bfloat16))
    # Some tens of roundings that are independent, of numbers like the largest logits.
    difference = np.abs(found - expected)
    assert difference.mean() < 4 * ROUNDING * np.abs(expected).mean()
    assert 0 < difference.max() < 16 * ROUNDING * np.abs(expected).max()

    positions = tf.constant([[1, 3], [0, 2], [4, 4]])
    at = in_bfloat16.logits_at(inputs(), positions)
    whole = tf.gather(in_bfloat16.logits(inputs()), positions, batch_dims=1)
    assert np.allclose(at, whole, atol=4 * ROUNDING * np.abs(expected).max())


@pytest.mark.parametrize("name", QUICK)
def test_every_matrix_is_stored_once_in_bfloat16(name):
    model = as_masked_lm(random_model(name))
    weights = Bfloat16Model(model).weights
    # What stays is vectors, and small tables that are looked up in.
    matrices = [weight for weight in weights if weight.shape.rank > 1 and "embeddings" not in weight.name]
    assert len(matrices) > 10
    assert {weight.dtype for weight in matrices} == {tf.bfloat16}
    assert len({id(weight) for weight in weights}) == len(weights) <= len(model.weights)


def test_what_is_saved_has_half_the_size_and_ops_that_servers_have(tmp_path):
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4}
    model = as_masked_lm(random_model("roberta", **sizes))
    size = {}
    for name, form in (("float32", model), ("bfloat16", Bfloat16Model(model))):
        TokenSignatures(form, 4, top_k=3, max_sequence_length=32).save(tmp_path / name)
        files = (tmp_path / name / "variables").iterdir()
        size[name] = sum(path.stat().st_size for path in files)
    assert 0.48 < size["bfloat16"] / size["float32"] < 0.55

    loaded = tf.saved_model.load(str(tmp_path / "bfloat16"))
    content = (tmp_path / "bfloat16/saved_model.pb").read_bytes()
    saved = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].graph_def
    nodes = [*saved.node, *(node for function in saved.library.function for node in function.node_def)]
    stored = {node.name: node for node in nodes if node.op == "VarHandleOp"}
    kernels = [node for name, node in stored.items() if "kernel" in name]
    assert len(kernels) > 10
    assert {node.attr["dtype"].type for node in kernels} == {tf.bfloat16.as_datatype_enum}
    of_bfloat16 = {
        node.op
        for node in nodes
        if any(node.attr[key].type == tf.bfloat16.as_datatype_enum for key in ("T", "dtype", "Tparams", "SrcT", "DstT"))
    }
    assert of_bfloat16 - {"VarHandleOp", "RestoreV2", "SaveV2", "AssignVariableOp"} <= IN_BFLOAT16

    ids, mask = inputs().values()
    ids = tf.where(tf.range(max(LENGTHS)) == 3, 4, ids)
    found = loaded.signatures["tokens"](input_ids=ids, attention_mask=mask)
    module = TokenSignatures(model, 4, top_k=3, max_sequence_length=32)
    expected = module.tokens(ids, mask)
    assert np.allclose(found["score"], expected["score"], rtol=0.2)
    assert np.array_equal(found["position"], expected["position"])


def test_padding_is_judged_by_the_model_in_float32():
    """Rounding differs with a sequence's length, by more than tells a model that padding changes."""
    model = as_masked_lm(random_model("roberta"))
    assert TokenSignatures(Bfloat16Model(model), 4, top_k=3, max_sequence_length=32).language_model.is_padded_freely
    model = as_masked_lm(random_model("convbert"))
    assert not TokenSignatures(Bfloat16Model(model), 4, top_k=3, max_sequence_length=32).language_model.is_padded_freely
