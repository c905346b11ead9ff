"""Scoring at frozen masks: every architecture answers, whatever its graph needs."""

import numpy as np
import pytest

from components.masking.frozen_masks import freeze_masks
from components.modeling.scoring import score_masks
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
