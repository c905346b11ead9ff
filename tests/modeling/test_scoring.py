"""Scoring at frozen masks: every architecture answers, whatever its graph needs."""

import numpy as np
import pytest

from components.masking.frozen_masks import freeze_masks
from components.modeling.library.adapter import as_masked_lm
from components.modeling.scoring import MaskedBatches, score_masks, score_with
from tests.modeling.tiny_models import LENGTH, VOCABULARY, all_slow_but, random_model


@pytest.mark.parametrize("model_type", all_slow_but(["roberta"]))
def test_scores_are_those_of_the_dense_model(model_type):
    model = random_model(model_type)
    random = np.random.default_rng(1)
    input_ids = random.integers(5, VOCABULARY, (5, LENGTH)).astype(np.int32)
    attention = np.ones_like(input_ids)
    masks = freeze_masks(
        input_ids, special_ids=[0, 1, 2], mask_token_id=4, vocabulary_size=VOCABULARY, probability=0.3, seed=3
    )
    scores = score_masks(model, input_ids, attention, masks, batch_size=2, k=2)

    logits = model({"input_ids": masks.apply(input_ids), "attention_mask": attention}).logits.numpy().astype(float)
    at_masks = logits[masks.block, masks.position]  # (tokens, vocabulary)
    true = at_masks[np.arange(len(masks)), masks.label] - np.log(np.exp(at_masks).sum(axis=1))
    np.testing.assert_allclose(scores.log_probabilities, true, atol=2e-5)
    np.testing.assert_array_equal(scores.top_ids[:, 0], at_masks.argmax(axis=1))


def test_documents_of_like_lengths_are_scored_together_without_their_padding():
    """With the answers that whole blocks get, in the order of the masks."""
    model = random_model("roberta")
    random = np.random.default_rng(1)
    lengths = np.array([3, 16, 5, 2, 16, 9, 4])
    attention = (np.arange(LENGTH) < lengths[:, None]).astype(np.int8)
    input_ids = np.where(attention > 0, random.integers(5, VOCABULARY, attention.shape), 1).astype(np.int32)
    masks = freeze_masks(
        input_ids, special_ids=[0, 1, 2], mask_token_id=4, vocabulary_size=VOCABULARY, probability=0.4, seed=3
    )
    scores = score_masks(model, input_ids, attention, masks, batch_size=3, k=2)
    whole = score_with(as_masked_lm(model).logits_at, VOCABULARY, input_ids, attention, masks, batch_size=1, k=2)
    np.testing.assert_allclose(scores.log_probabilities, whole.log_probabilities, atol=2e-5)
    np.testing.assert_array_equal(scores.top_ids, whole.top_ids)
    np.testing.assert_allclose(scores.top_log_probabilities, whole.top_log_probabilities, atol=2e-5)

    batches = MaskedBatches(input_ids, attention, masks, 3, by_length=True)
    assert [batches.inputs(number)[0].shape for number in range(batches.count)] == [(3, 16), (3, 5), (3, 2)]
    assert batches.shapes[0] == (3, None)
    without_padding = MaskedBatches(input_ids, np.ones_like(attention), masks, 3, by_length=True)
    assert without_padding.shapes == ((3, LENGTH), (3, without_padding.slots))
