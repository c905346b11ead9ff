"""The file for TensorFlow Lite: answers near the float32 ones, signatures that servers read, shapes in any order."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from components.exporting.quantized import first_position
from components.modeling.encoder.local_attention import without_chunks
from components.modeling.library.adapter import as_masked_lm
from foundation.errors import ModelError
from serving.graph.language_model import LanguageModel
from serving.graph.lite import order_check
from serving.graph.lite.conversion import convert
from serving.graph.lite.functions import LiteFunctions
from serving.graph.lite.order_check import require_same_answers
from serving.graph.token_signatures import TokenSignatures
from serving.lite.interpreter import LiteModel
from serving.lite.serving_metadata import METHOD, serving_signatures
from tests.modeling.tiny_models import VOCABULARY, random_model

MASK, TOP_K, LONGEST = 6, 5, 40
SHAPES = ((1, 8), (3, 12), (1, 36), (3, 12), (2, 6))
TAKEN = ("albert", "bart", "deberta-v2", "modernbert", "roberta")


def converted(directory, model, **values):
    """The model's file, loaded."""
    path = directory / "model.tflite"
    values = {"first_position": first_position(model), **values}
    path.write_bytes(convert(LiteFunctions(LanguageModel(model), MASK, TOP_K, LONGEST, **values)))
    return path


@pytest.fixture(scope="module")
def bert():
    return as_masked_lm(random_model("bert"))


@pytest.fixture(scope="module")
def path(bert, tmp_path_factory):
    return converted(tmp_path_factory.mktemp("lite"), bert)


def rows(shape, masks=((0, 3), (1, 2), (1, 4))):
    ids = np.random.default_rng(0).integers(7, VOCABULARY - 1, shape).astype(np.int32)
    for row, position in masks:
        if row < shape[0]:
            ids[row, position] = MASK
    attention_mask = np.ones_like(ids)
    attention_mask[1:, -2:] = 0
    return ids, attention_mask


def require_near(model, path):
    """Asks requests of several shapes in turn, and compares each answer with the float32 model's."""
    module, lite = TokenSignatures(model, MASK, top_k=TOP_K, max_sequence_length=40), LiteModel(path)
    for shape in SHAPES:
        ids, attention_mask = rows(shape)
        found, expected = lite.tokens(ids, attention_mask), module.tokens(ids, attention_mask)
        assert np.array_equal(found["position"], expected["position"])
        assert found["token"].shape == found["score"].shape == expected["score"].shape
        is_real = found["position"] >= 0
        assert (found["token"][~is_real] == -1).all()
        assert not found["score"][~is_real].any()
        positions = np.maximum(found["position"], 0)
        exact = np.asarray(model.logits_at({"input_ids": ids, "attention_mask": attention_mask}, positions))[is_real]
        own = lite.logits_at(ids, attention_mask, positions)[is_real]
        # What is measured is what is served.
        best = tf.math.top_k(tf.nn.softmax(own), TOP_K)
        assert np.array_equal(best.indices, found["token"][is_real])
        assert np.allclose(best.values, found["score"][is_real], rtol=1e-5)
        spread = exact - exact.mean(-1, keepdims=True)
        assert np.linalg.norm(own - exact) < 0.05 * np.linalg.norm(spread)


def require_refused(path):
    """Asks too long a text, and then another."""
    lite = LiteModel(path)
    with pytest.raises(RuntimeError):
        lite.tokens(*rows((1, LONGEST + 1)))
    assert lite.tokens(*rows((1, LONGEST)))["position"].tolist() == [[3]]


def test_answers_are_near_the_models(bert, path):
    require_near(bert, path)


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_answers_of_each_architecture_are_near_the_models(name, tmp_path):
    model = as_masked_lm(random_model(name))
    with without_chunks():
        path = converted(tmp_path, model)
    require_near(model, path)
    require_refused(path)


def test_rows_without_a_mask_have_no_answer(path):
    ids, attention_mask = rows((2, 8), masks=())
    answer = LiteModel(path).tokens(ids, attention_mask)
    assert answer["position"].tolist() == [[-1], [-1]]
    assert answer["token"].tolist() == [[[-1] * TOP_K]] * 2
    assert not answer["score"].any()


def test_a_mask_in_the_padding_is_none(path):
    ids, attention_mask = rows((2, 8), masks=((0, 3), (1, 7)))
    assert LiteModel(path).tokens(ids, attention_mask)["position"].tolist() == [[3], [-1]]


def test_tensorflow_serving_finds_its_signatures(path):
    content = path.read_bytes()
    found = serving_signatures(content)
    assert set(found) == {"tokens", "serving_default"}
    definition = found["tokens"]
    assert definition == found["serving_default"]
    assert definition.method_name == METHOD
    dtypes = {"input_ids": tf.int32, "attention_mask": tf.int32, "position": tf.int32, "token": tf.int32}
    infos = {**definition.inputs, **definition.outputs}
    assert {name: tf.as_dtype(info.dtype) for name, info in infos.items()} == {**dtypes, "score": tf.float32}
    # It looks for these tensors among the inputs and outputs of the first graph.
    graph = schema.Model.GetRootAs(content).Subgraphs(0)
    for part, numbers in ((definition.inputs, graph.InputsAsNumpy()), (definition.outputs, graph.OutputsAsNumpy())):
        names = {graph.Tensors(number).Name().decode() for number in numbers}
        assert {info.name for info in part.values()} == names
    # It reads each up to the first zero byte.
    assert b"\0" not in definition.SerializeToString()


def test_operations_are_built_in_and_known_to_the_server(path):
    model = schema.Model.GetRootAs(path.read_bytes())
    codes = [model.OperatorCodes(number) for number in range(model.OperatorCodesLength())]
    assert all(code.BuiltinCode() != schema.BuiltinOperator.CUSTOM for code in codes)
    metadata = {
        model.Metadata(number).Name(): model.Metadata(number).Buffer() for number in range(model.MetadataLength())
    }
    lowest = bytes(model.Buffers(metadata[b"min_runtime_version"]).DataAsNumpy()).rstrip(b"\0").decode()
    assert tuple(map(int, lowest.split("."))) <= (2, 20, 0)


def test_weights_are_integers_and_stand_once_for_both_functions(path, bert):
    numbers = sum(int(tf.size(weight)) for weight in bert.weights)
    model = schema.Model.GetRootAs(path.read_bytes())
    sizes = [model.Buffers(number).DataLength() for number in range(model.BuffersLength())]
    # The table of tokens stands there twice, as what is looked up and as the decoder; a small model's biases weigh.
    assert sum(size for size in sizes if size >= 1024) < 1.6 * numbers


@pytest.mark.slow
def test_a_file_that_depends_on_the_request_before_is_refused(bert, tmp_path):
    path = converted(tmp_path, bert, first_position=None)
    with pytest.raises(ModelError, match="whatever it was asked before"):
        require_same_answers(path, MASK, VOCABULARY, 40)


@pytest.mark.slow
def test_the_check_of_the_order_takes_what_is_right(path):
    require_same_answers(path, MASK, VOCABULARY, 40)
    assert any(before[0] == 1 < after[0] for before, after in itertools.pairwise(order_check.SHAPES))


def test_what_tensorflow_lite_lacks_is_named():
    class Model:
        config = type("Config", (), {"vocab_size": 8})
        languages, weights = (), []

        def hidden(self, inputs):
            # A slice that adds a dimension to two of unknown size.
            return tf.cast(inputs["input_ids"][..., None], tf.float32)

        def head(self, hidden):
            return tf.tile(hidden, [1, 1, 8])

    with pytest.raises(ModelError) as refused:
        convert(LiteFunctions(LanguageModel(Model()), MASK, TOP_K, LONGEST, None))
    assert refused.value.received == "StridedSlice"
    assert "--export.quantize" in refused.value.remedy


@pytest.mark.slow
def test_a_file_that_ends_its_process_is_refused(tmp_path):
    model = as_masked_lm(random_model("modernbert"))  # by chunks
    with pytest.raises(ModelError, match="SIGABRT"):
        require_same_answers(converted(tmp_path, model), MASK, VOCABULARY, 40)
