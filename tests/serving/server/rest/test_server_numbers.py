"""The number format and the layout of bodies."""

import contextlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.server.rest import json_text
from serving.server.rest.tensors_from_json import from_inputs, from_instances, to_tensor
from serving.server.rest.tensors_to_json import to_decimals, to_outputs, to_predictions
from serving.server.signature import TensorSpec
from serving.server.status import StatusError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (3.05, "3.05"),
        (math.log(2), "0.693147182"),
        (61731.3945, "61731.3945"),
        (3, "3.0"),
        (123456, "123456.0"),
        (1234567, "1234567.0"),
        (1000000, "1e+06"),
        (5e19, "5e+19"),
        (1e-9, "1e-09"),
        (-0.0, "-0.0"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_float32_as_tensorflow_serving_writes_it(value: float, text: str) -> None:
    assert to_decimals(np.array([value], np.float32)) == [text]


def test_float64_has_17_digits_where_6_are_not_enough() -> None:
    assert to_decimals(np.array([1 / 3, 0.1, 2])) == ["0.33333333333333331", "0.1", "2.0"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_every_number_reads_back_as_itself(dtype: type, data: st.DataObject) -> None:
    values = data.draw(arrays.arrays(dtype, 20))
    texts = to_decimals(values)
    np.testing.assert_array_equal(np.array([float(text) for text in texts], dtype), values)
    for text, value in zip(texts, values.tolist(), strict=True):
        if math.isfinite(value):
            assert "." in text or "e" in text


def test_layout_of_rows() -> None:
    assert to_predictions({"y": np.array([3.5, 4, 5.5], np.float32)}) == (
        b'{\n    "predictions": [3.5, 4.0, 5.5\n    ]\n}'
    )
    assert to_predictions({"y": np.array([[[1], [2]], [[3], [4]]], np.int32)}) == (
        b'{\n    "predictions": [[[1], [2]], [[3], [4]]\n    ]\n}'
    )
    assert to_predictions({"a": np.array([True, False]), "b": np.array([[1, 2], [3, 4]])}) == (
        b'{\n    "predictions": [\n        {\n            "a": true,\n            "b": [1, 2]\n        },\n'
        b'        {\n            "a": false,\n            "b": [3, 4]\n        }\n    ]\n}'
    )
    assert to_predictions({"y": np.zeros((0, 3), np.float32)}) == b'{\n    "predictions": []\n}'
    assert to_predictions({"y_bytes": np.array([b"\0", b"\1"], object)}) == (
        b'{\n    "predictions": [{\n            "b64": "AA=="\n        }, {\n'
        b'            "b64": "AQ=="\n        }\n    ]\n}'
    )


def test_layout_of_columns() -> None:
    assert to_outputs({"y": np.array([[1, 2], [3, 4]], np.int64)}) == (
        b'{\n    "outputs": [\n        [\n            1,\n            2\n        ],\n'
        b"        [\n            3,\n            4\n        ]\n    ]\n}"
    )
    assert to_outputs({"y": np.float32(2)[()].reshape(())}) == b'{\n    "outputs": 2.0\n}'
    assert to_outputs({"a": np.zeros((0,), np.int32), "b": np.array(b"x", object)}) == (
        b'{\n    "outputs": {\n        "a": [],\n        "b": "x"\n    }\n}'
    )


TYPES = {
    "float": np.float32,
    "double": np.float64,
    "int32": np.int32,
    "int64": np.int64,
    "uint8": np.uint8,
    "bool": bool,
}


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_tensors_survive_both_formats(name: str, data: st.DataObject) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, max_side=3))
    tensor = data.draw(arrays.arrays(TYPES[name], shape))
    spec = {"x": TensorSpec(name, "x:0")}
    column = json_text.parse(to_outputs({"x": tensor}))["outputs"]
    np.testing.assert_array_equal(from_inputs(column, spec)["x"], tensor)
    row = json_text.parse(to_predictions({"x": tensor}))["predictions"]
    np.testing.assert_array_equal(from_instances(row, spec)["x"], tensor)


@given(st.lists(st.binary(), min_size=1, max_size=5))
def test_any_bytes_survive_as_strings_and_as_base64(values: list[bytes]) -> None:
    tensor = np.array([*values, None], dtype=object)[:-1]
    for name in ("x", "x_bytes"):
        column = json_text.parse(to_outputs({name: tensor}))["outputs"]
        assert from_inputs(column, {name: TensorSpec("string", "x:0")})[name].tolist() == values


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("b64"), inner, max_size=2)
    ),
)


@pytest.mark.parametrize("dtype", [*TYPES, "string", "half", "uint64"])
@given(value=json_values)
def test_any_json_is_a_tensor_or_a_status(dtype: str, value: object) -> None:
    with contextlib.suppress(StatusError):
        assert isinstance(to_tensor(value, dtype), np.ndarray)


@given(json_values)
def test_json_reads_as_python_reads_it_whatever_follows(value: object) -> None:
    text = json.dumps(value)
    assert json.dumps(json_text.parse(f" {text} ]garbage".encode())) == text
    assert json.dumps(json_text.parse(f"\ufeff{text}".encode())) == text


@given(st.binary(max_size=40))
def test_any_body_is_json_or_a_status(body: bytes) -> None:
    with contextlib.suppress(StatusError):
        json_text.parse(body)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"[Inf, -Inf, Infinity]", [math.inf, -math.inf, math.inf]),
        (b'["Inf", "\\"Inf", Inf]', ["Inf", '"Inf', math.inf]),
        (b'{"a": 1, "a": 2}', {"a": 1}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"a\\udC00b"', b"a\xed\xb0\x80b".decode("utf-8", "surrogateescape")),
        (b'"\\udc80\x80"', b"\xed\xb2\x80\x80".decode("utf-8", "surrogateescape")),
        (b'"a" "\\ud800"', "a"),
        (b'["-NaN", "Inf"]', ["-NaN", "Inf"]),
    ],
)
def test_what_is_read_leniently(text: bytes, value: object) -> None:
    assert json_text.parse(text) == value


def test_minus_nan_is_a_number() -> None:
    assert [math.isnan(value) for value in json_text.parse(b"[-NaN, NaN]")] == [True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "The document is empty"),
        (b" \n ", "The document is empty"),
        (b"[1e999]", "Number too big"),
        (b"[" + b"9" * 5000 + b"]", "Number too big"),
        (b"[" * 100_000, "Nested too deeply"),
        (b'"\\ud800"', "surrogate pair in string is invalid at offset: 1"),
        (b'"\\ud800\\u0041"', "surrogate pair in string is invalid at offset: 1"),
        (b"[--NaN]", "at offset: 1"),
        (b"[" + b"-" * 100_000 + b"NaN]", "at offset: 1"),
        (b'{"instances": [1 2]}', "at offset: 17"),
        ('["ä" 2]'.encode(), "at offset: 6"),
        (b"nul", "offset: 0"),
    ],
)
def test_what_is_no_json(text: bytes, message: str) -> None:
    with pytest.raises(StatusError, match=message):
        json_text.parse(text)


@pytest.mark.parametrize("end", [b"", b"\\", b'", Inf', b'", Inf, "'])
def test_a_large_body_that_is_no_json_is_refused_at_once(end: bytes) -> None:
    """A megabyte of backslashes and quotes: at quadratic cost it would take half an hour."""
    with pytest.raises(StatusError, match="JSON Parse error"):
        json_text.parse(b'{"instances": [Inf, "' + b'\\"' * 500_000 + end)


def test_narrow_integers_wrap_and_wide_ones_are_refused() -> None:
    assert to_tensor(300, "uint8") == 44
    with pytest.raises(StatusError, match="not of expected type: int32"):
        to_tensor(2**31, "int32")
    assert to_tensor(2**64 - 1, "uint64") == 2**64 - 1
