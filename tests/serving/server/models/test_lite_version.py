"""A version served by TensorFlow Lite answers by name, at once and in the server's words."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from components.modeling.library.adapter import as_masked_lm
from foundation.versions import LITE_MODEL
from serving.graph.language_model import LanguageModel
from serving.graph.lite.conversion import convert
from serving.graph.lite.functions import LiteFunctions
from serving.lite.interpreter import LiteModel
from serving.server.models.lite_version import LiteVersion
from serving.server.options import make_parser
from serving.server.status import Code, StatusError
from serving.server.tensorflow_serving_flags import translate
from tests.modeling.tiny_models import VOCABULARY, random_model

MASK = 6


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    directory = tmp_path_factory.mktemp("version")
    model = LanguageModel(as_masked_lm(random_model("bert")))
    (directory / LITE_MODEL).write_bytes(convert(LiteFunctions(model, MASK, 5, 32, 0)))
    return LiteVersion(directory)


def request(length):
    ids = np.full((2, length), 9, np.int32)
    ids[:, 2] = MASK
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def test_many_threads_get_their_own_answers(version):
    alone = LiteModel(version.directory / LITE_MODEL)
    requests = [request(4 + number % 5) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda tensors: version.run("tokens", tensors), requests))
    for tensors, answer in zip(requests, answers, strict=True):
        expected = alone.tokens(**tensors)
        assert all(np.array_equal(answer[name], expected[name]) for name in expected)


def test_only_what_was_asked_for_is_answered(version):
    assert set(version.run("serving_default", request(5), ("token",))) == {"token"}
    assert version.signatures["tokens"].outputs["score"].dtype == "float"
    assert set(version.signature_definitions()["signature_def"]) == {"tokens", "serving_default"}


def test_ids_beyond_the_vocabulary_are_an_error_and_the_next_request_is_answered(version):
    tensors = request(5)
    tensors["input_ids"][0, 0] = VOCABULARY
    for _ in range(8):
        with pytest.raises(StatusError) as refused:
            version.run("tokens", tensors)
        assert refused.value.code == Code.INTERNAL
    assert version.run("tokens", request(5))["position"].tolist() == [[2], [2]]


@pytest.mark.parametrize(
    ("ids", "attention_mask"), [((3,), (3,)), ((1, 0), (1, 0)), ((0, 8), (0, 8)), ((2, 5), (2, 4)), ((1, 5), (5,))]
)
def test_a_request_of_another_shape_is_refused_and_the_next_one_is_answered(version, ids, attention_mask):
    tensors = {"input_ids": np.full(ids, 9, np.int32), "attention_mask": np.ones(attention_mask, np.int32)}
    for _ in range(8):
        with pytest.raises(StatusError, match="must have one shape") as refused:
            version._run("tokens", tensors)
        assert refused.value.code == Code.INVALID_ARGUMENT
    assert version.run("tokens", request(5))["position"].tolist() == [[2], [2]]


def test_an_interpreter_that_failed_answers_the_next_request(version):
    model = LiteModel(version.directory / LITE_MODEL)
    wrong = np.array([2, MASK, 3], np.int32)
    for _ in range(3):
        with pytest.raises((RuntimeError, ValueError)):
            model.tokens(wrong, np.ones_like(wrong))
    assert model.tokens(**request(5))["position"].tolist() == [[2], [2]]


def test_a_damaged_file_is_an_error(tmp_path):
    (tmp_path / LITE_MODEL).write_bytes(b"no model" * 100)
    with pytest.raises(StatusError, match=r"Could not load .*model\.tflite"):
        LiteVersion(tmp_path)


@pytest.mark.parametrize("words", [["--prefer_tflite_model"], ["--prefer_tflite_model=true"]])
def test_it_is_chosen_as_in_tensorflow_serving(words):
    assert make_parser().parse_args(translate(["--model-dir", "x", *words])).prefer_tflite_model
    assert not make_parser().parse_args(translate(["--model-dir", "x"])).prefer_tflite_model
