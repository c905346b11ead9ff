"""The accuracy of an exported form: the evaluation's own masks, the first of them, and a gate that refuses."""

import math

import numpy as np
import pytest
import tensorflow as tf

from components.contract.reports import FormAccuracy
from components.evaluation.params import EvaluateParams
from components.evaluation.questions import questions_of_test_split
from components.exporting.accuracy import AccuracyTest, first_questions, require_accuracy
from components.modeling.checkpoint import build_masked_lm
from components.modeling.library.adapter import as_masked_lm
from components.modeling.scoring import score_masks
from foundation.errors import ModelError

SETTINGS = EvaluateParams(seed=3).questions(0.15)
MODEL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,
}


@pytest.fixture(scope="module")
def model(tokenizer):
    return build_masked_lm("roberta", MODEL, tokenizer, seed=1)


def test_the_questions_are_the_first_of_the_evaluation(blocks, tokenizer):
    all_questions = questions_of_test_split(blocks, tokenizer, SETTINGS)
    some = first_questions(blocks, tokenizer, SETTINGS, 50)
    kept = len(some.masks)
    for field in ("block", "position", "input_id", "label"):
        assert np.array_equal(getattr(some.masks, field), getattr(all_questions.masks, field)[:kept])
    # Whole blocks, and as many as fit.
    assert some.masks.block.max() < len(some.input_ids) < len(all_questions.input_ids)
    assert kept <= 50 < kept + np.bincount(all_questions.masks.block)[len(some.input_ids)]


@pytest.mark.parametrize(("most", "blocks_kept"), [(1, 1), (10**6, 60)])
def test_one_block_is_asked_at_least_and_all_where_they_fit(blocks, tokenizer, most, blocks_kept):
    questions = first_questions(blocks, tokenizer, SETTINGS, most)
    assert len(questions.input_ids) == blocks_kept
    assert len(questions.masks) == (questions.masks.block < blocks_kept).sum() > 0


def test_the_loss_is_the_mean_over_the_masked_tokens(model, blocks, tokenizer):
    questions = first_questions(blocks, tokenizer, SETTINGS)
    lm = as_masked_lm(model)

    def halved(inputs, positions):
        return lm.logits_at(inputs, positions) / 2

    accuracy = AccuracyTest(lm, questions).of("halved", halved)
    ids, mask = questions.input_ids, questions.attention_mask
    own = score_masks(model, ids, mask, questions.masks, batch_size=60, k=1).log_probabilities
    logits = np.asarray(model(tf.constant(questions.masks.apply(ids))).logits) / 2
    logits = logits[questions.masks.block, questions.masks.position].astype(np.float64)
    at = np.arange(len(logits))
    expected = np.log(np.exp(logits).sum(1)) - logits[at, questions.masks.label]
    assert accuracy.loss == pytest.approx(expected.mean(), abs=1e-5)
    assert accuracy.float32_loss == pytest.approx(-own.mean(), abs=1e-5)
    assert accuracy.loss_increase == accuracy.loss - accuracy.float32_loss
    assert accuracy.perplexity == pytest.approx(math.exp(expected.mean()), rel=1e-4)
    assert accuracy.masked_tokens == len(questions.masks)
    assert accuracy.same_first_answers == 1


def test_a_form_that_answers_otherwise_has_other_first_answers(model, blocks, tokenizer):
    lm = as_masked_lm(model)
    accuracy = AccuracyTest(lm, first_questions(blocks, tokenizer, SETTINGS)).of(
        "turned", lambda inputs, positions: -lm.logits_at(inputs, positions)
    )
    assert accuracy.same_first_answers < 0.1


@pytest.mark.parametrize(
    ("loss", "accurate"), [(2.0, True), (1.5, True), (2.01, True), (2.02, False), (math.nan, False), (math.inf, False)]
)
def test_the_gate(loss, accurate):
    found = FormAccuracy(form="int8", masked_tokens=1234, float32_loss=2.0, loss=loss, same_first_answers=0.975)
    if accurate:
        require_accuracy(found, 0.0101, "do otherwise")
        return
    with pytest.raises(ModelError) as refused:
        require_accuracy(found, 0.0101, "leave out --export.quantize")
    message = str(refused.value)
    for words in ("int8", "0.0101 nats", "1,234 masked tokens", "97.5%", "--export.quantize", "max_loss_increase"):
        assert words in message
