"""RoFormer's rotation equals the library's, in value and gradient, takes no strided slices, and is never trained."""

import numpy as np
import pytest
import tensorflow as tf
from transformers import RoFormerConfig, TFRoFormerForMaskedLM
from transformers.models.roformer.modeling_tf_roformer import TFRoFormerSelfAttention

from components.modeling.architectures.records import ARCHITECTURES
from components.modeling.library.rotary import rotated, with_fixed_rotary
from tests.modeling.tiny_models import token_batch

LIBRARY = TFRoFormerSelfAttention.apply_rotary_position_embeddings


def of_the_library(**values):
    """A RoFormer as the library builds it."""
    model = TFRoFormerForMaskedLM(RoFormerConfig(**{**ARCHITECTURES["roformer"].tiny, **values}))
    model.build_in_name_scope()
    return model


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_equals_the_library(number, dtype):
    positions = tf.cast(tf.random.stateless_normal((1, 1, 5, 8), [1, 2]), dtype)
    vectors = [tf.cast(tf.random.stateless_normal((2, 3, 5, 8), [3, key]), dtype) for key in range(number)]

    def values_and_gradients(function):
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            results = function(positions, *vectors)
        return [*results, *tape.gradient(results, vectors)]

    ours, theirs = values_and_gradients(rotated), values_and_gradients(LIBRARY)
    assert len(ours) == len(theirs) == 2 * number
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("values", [{}, {"rotary_value": True}])
def test_a_model_answers_the_same(values):
    model = of_the_library(**values)
    inputs = token_batch()
    before = model(inputs).logits

    def slices():
        graph = tf.function(lambda: model(inputs).logits).get_concrete_function().graph
        return sum(
            operation.type == "StridedSlice" and operation.inputs[0].shape.rank == 4
            for operation in graph.get_operations()
        )

    assert slices() > 0
    assert with_fixed_rotary(model) is model
    assert slices() == 0
    np.testing.assert_allclose(model(inputs).logits, before, atol=1e-6)


def test_angles_are_no_weights_to_train():
    model = of_the_library()
    table = model.roformer.encoder.embed_positions.weight
    assert any(weight is table for weight in model.trainable_weights)
    with_fixed_rotary(model)
    assert not any(weight is table for weight in model.trainable_weights)
    assert any(weight is table for weight in model.weights)
