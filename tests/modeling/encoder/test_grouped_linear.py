"""Products in groups, against one matrix that is zero outside of the groups."""

import numpy as np
import pytest
import tensorflow as tf

from components.modeling.encoder.grouped_linear import GroupedLinear


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_group_depends_on_its_own_part_alone(groups):
    layer = GroupedLinear("part", 8, 12, groups=groups)
    random = np.random.default_rng(0)
    layer.weight.assign(random.normal(size=layer.weight.shape))
    layer.bias.assign(random.normal(size=12))
    matrix = np.zeros((8, 12))
    for group in range(groups):
        rows = slice(group * 8 // groups, (group + 1) * 8 // groups)
        columns = slice(group * 12 // groups, (group + 1) * 12 // groups)
        matrix[rows, columns] = layer.weight.numpy()[columns, :, 0].T
    inputs = random.normal(size=(2, 3, 8)).astype(np.float32)
    np.testing.assert_allclose(layer(inputs), inputs @ matrix + layer.bias.numpy(), atol=1e-5)
    assert layer(inputs[:0]).shape == (0, 3, 12)


def test_it_is_as_narrow_as_what_it_is_given():
    layer = GroupedLinear("part", 8, 12, groups=2)
    assert layer(tf.ones((1, 2, 8), tf.bfloat16)).dtype == tf.bfloat16
    assert layer.weight.dtype == tf.float32
