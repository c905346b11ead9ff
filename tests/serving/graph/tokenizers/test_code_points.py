"""Text to code points and back."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.graph.tokenizers import code_points
from serving.graph.tokenizers.tables import CodePointTable


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=20))
@settings(deadline=None, max_examples=200)
def test_invalid_utf8_is_replaced_as_python_replaces_it(texts):
    found = code_points.valid_utf8(tf.constant(texts)).numpy().tolist()
    assert found == [text.decode("utf-8", "replace").encode() for text in texts]


def test_every_code_point_survives():
    texts = [chr(point).encode() for point in code_points.scalar_values()]
    points, splits = code_points.decode(code_points.valid_utf8(tf.constant(texts)))
    assert points.numpy().tolist() == code_points.scalar_values()
    assert code_points.encode(points, splits).numpy().tolist() == texts


def test_table_holds_every_value():
    values = np.random.default_rng(0).integers(-5, 5, code_points.NUMBER_OF_CODE_POINTS)
    table = CodePointTable(values)
    points = np.arange(code_points.NUMBER_OF_CODE_POINTS, dtype=np.int32)
    np.testing.assert_array_equal(table(tf.constant(points)), values)
