"""The validation of the model in eight-bit integers: what is served must be what was measured."""

import pytest

from components.modeling.checkpoint import build_masked_lm
from components.modeling.library.adapter import as_masked_lm
from components.validation.lite import answer_of, validate_lite
from foundation.errors import ServingError
from foundation.versions import LITE_MODEL
from serving.graph.language_model import LanguageModel
from serving.graph.lite.conversion import convert
from serving.graph.lite.functions import LiteFunctions
from serving.lite.interpreter import LiteModel
from tests.exporting.test_quantized import MODEL

TEXTS = ["<mask>", "The sky is <mask> and the sea is <mask>.", "Who is <mask>?"]


@pytest.fixture(scope="module")
def functions(tokenizer):
    model = as_masked_lm(build_masked_lm("roberta", MODEL, tokenizer, seed=1))
    return LiteFunctions(LanguageModel(model), tokenizer.mask_token_id, 3, 32, None)


@pytest.fixture(scope="module")
def directory(functions, tmp_path_factory):
    directory = tmp_path_factory.mktemp("version")
    (directory / LITE_MODEL).write_bytes(convert(functions))
    return directory


def test_a_file_that_answers_as_it_was_measured_passes(directory, tokenizer, tmp_path):
    [asked] = validate_lite(directory, tokenizer, TEXTS, tmp_path / "log", 60.0)
    assert asked == "3 texts one at a time, and all in one request, of model.tflite by TensorFlow Lite"


@pytest.mark.slow
def test_a_file_that_answers_other_masks_fails(functions, tokenizer, tmp_path):
    others = LiteFunctions(functions.language_model, tokenizer.bos_token_id, 3, 32, None)
    (tmp_path / LITE_MODEL).write_bytes(convert(others))
    with pytest.raises(ServingError, match="must answer as it was measured"):
        validate_lite(tmp_path, tokenizer, TEXTS, tmp_path / "log", 60.0)


def test_another_file_in_its_place_fails(tokenizer, tmp_path):
    (tmp_path / LITE_MODEL).write_bytes(b"no model" * 100)
    with pytest.raises(ServingError, match="--force export"):
        validate_lite(tmp_path, tokenizer, TEXTS, tmp_path / "log", 60.0)


def test_an_answer_of_a_server_is_compared_by_tokens_and_scores(directory, tokenizer):
    like = [[{"score": 0.0, "token": 0, "token_str": "a", "sequence": "b"}] * 3] * 2
    found = answer_of(LiteModel(directory / LITE_MODEL), tokenizer, TEXTS[1], like)
    assert [len(each) for each in found] == [3, 3]
    assert all(one["score"] > 0 and one["token_str"] == "a" for each in found for one in each)
