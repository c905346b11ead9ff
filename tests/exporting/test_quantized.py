"""The export in eight-bit integers: what it writes, what it reports, and that what answers worse is refused."""

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.contract.artifacts import Checkpoint, ServingModel, Tokenizer
from components.evaluation.params import EvaluateParams
from components.export import Export
from components.exporting.accuracy import AccuracyTest, first_questions, require_accuracy
from components.exporting.params import ExportParams
from components.exporting.quantized import logits_at, write_quantized
from components.modeling.checkpoint import build_masked_lm, save_masked_lm
from components.modeling.library.adapter import as_masked_lm
from foundation.errors import ModelError
from foundation.versions import LITE_MODEL, WARM_UP_REQUESTS
from serving.lite.serving_metadata import serving_signatures
from tests.finished import finish

MOST = 0.2
"""Nats a masked token: random weights lose more than trained ones."""
SETTINGS = EvaluateParams(seed=3).questions(0.15)
MODEL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,
}


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save_masked_lm(build_masked_lm("roberta", MODEL, tokenizer, seed=1), tokenizer, folder / "model")
    return finish(folder, Checkpoint)


@pytest.fixture(scope="module")
def written(checkpoint, tokenizer, blocks, tmp_path_factory):
    """The file, and how it answers."""
    path = tmp_path_factory.mktemp("quantized") / LITE_MODEL
    questions = first_questions(blocks, tokenizer, SETTINGS)
    return path, write_quantized(path, checkpoint, tokenizer.mask_token_id, 3, 32, questions, MOST)


@pytest.fixture(scope="module")
def exported(checkpoint, tokenizer, blocks, tmp_path_factory):
    """The step's folder."""
    folder = tmp_path_factory.mktemp("exported")
    tokenizer.save_pretrained(folder / "tokenizer/tokenizer")
    (folder / "out").mkdir()
    params = ExportParams(quantize="int8", max_loss_increase=MOST, top_k=3)
    step = Export(checkpoint, finish(folder / "tokenizer", Tokenizer), params, blocks=blocks, questions=SETTINGS)
    step.run(folder / "out")
    return finish(folder / "out", ServingModel)


def test_how_it_answers_is_measured(written, blocks, tokenizer):
    _, accuracy = written
    masks = first_questions(blocks, tokenizer, SETTINGS).masks
    assert (accuracy.form, accuracy.masked_tokens) == ("int8", len(masks))
    assert 0 < abs(accuracy.loss_increase) < MOST
    assert 0.8 < accuracy.same_first_answers <= 1


@pytest.mark.slow
def test_a_file_that_is_worse_is_refused(checkpoint, written, blocks, tokenizer, tmp_path):
    _, accuracy = written
    questions = first_questions(blocks, tokenizer, SETTINGS)
    less = accuracy.loss_increase - 1e-6
    with pytest.raises(ModelError, match=r"int8.*max_loss_increase"):
        write_quantized(tmp_path / LITE_MODEL, checkpoint, tokenizer.mask_token_id, 3, 32, questions, less)


@pytest.mark.slow
def test_the_file_lies_beside_the_saved_model(exported):
    directory = exported.saved_model_directory
    assert (directory / "saved_model.pb").exists()
    assert set(serving_signatures((directory / LITE_MODEL).read_bytes())) == {"tokens", "serving_default"}


@pytest.mark.slow
def test_the_report_says_how_it_answers(exported):
    assert exported.report.quantize == "int8"
    [accuracy] = exported.report.accuracy
    assert f"int8 {accuracy.loss_increase:+.4f} nats a token" in exported.report.summary


@pytest.mark.slow
def test_both_can_answer_the_warm_up_requests(exported):
    """A server that can't answer one of them doesn't serve the model."""
    path = exported.saved_model_directory / WARM_UP_REQUESTS
    logs = [prediction_log_pb2.PredictionLog.FromString(each.numpy()) for each in tf.data.TFRecordDataset(str(path))]
    assert {log.predict_log.request.model_spec.signature_name for log in logs} == {"tokens"}


@pytest.mark.slow
def test_the_description_says_how_it_is_served(exported):
    text = (exported.saved_model_directory / "MODEL.md").read_text("utf-8")
    assert "--prefer_tflite_model" in text
    assert "int8" in text


def test_a_file_of_another_model_is_refused(written, blocks, tokenizer):
    model = as_masked_lm(build_masked_lm("roberta", MODEL, tokenizer, seed=2))
    test = AccuracyTest(model, first_questions(blocks, tokenizer, SETTINGS))
    accuracy = test.of("int8", logits_at(written[0]))
    with pytest.raises(ModelError, match=r"int8.*max_loss_increase"):
        require_accuracy(accuracy, MOST, "leave out --export.quantize")
