"""Masking: exact where its rates are 0 or 1, statistical in between, and through `prepare_tf_dataset`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.masking.masking import IGNORED_LABEL, MaskingCollator, MaskingRate, draw_masks, max_predictions

VOCABULARY, MASK, SPECIAL = 1000, 4, (0, 1, 2, 3, 4)


def draw(input_ids, probability, seed=0, **rates):
    return draw_masks(
        input_ids,
        special_ids=SPECIAL,
        vocabulary_size=VOCABULARY,
        mask_token_id=MASK,
        probability=probability,
        random=np.random.default_rng(seed),
        **rates,
    )


def words(rows, columns, seed=0):
    """Blocks without special tokens."""
    return np.random.default_rng(seed).integers(5, VOCABULARY, (rows, columns)).astype(np.int32)


class Vocabulary:
    """What the collator asks of a tokenizer."""

    all_special_ids = SPECIAL
    mask_token_id = MASK

    def __len__(self):
        return VOCABULARY


def test_everything_masked():
    ids = words(7, 20)
    ids[:, ::5] = 2
    masks = draw(ids, 1.0, replace_rate=1.0, random_rate=0.0)
    special = ids == 2
    np.testing.assert_array_equal(masks.input_ids, np.where(special, 2, MASK))
    np.testing.assert_array_equal(masks.dense_labels, np.where(special, IGNORED_LABEL, ids))


def test_nothing_masked():
    ids = words(7, 20)
    masks = draw(ids, 0.0)
    np.testing.assert_array_equal(masks.input_ids, ids)
    assert (masks.labels == IGNORED_LABEL).all()
    assert masks.positions.shape == (7, 1)


def test_chosen_and_all_kept():
    ids = words(7, 20)
    masks = draw(ids, 0.5, replace_rate=0.0, random_rate=0.0)
    np.testing.assert_array_equal(masks.input_ids, ids)
    assert ((masks.dense_labels != IGNORED_LABEL).sum(axis=1) == 10).all()


def test_chosen_and_all_random():
    ids = words(200, 50)
    masks = draw(ids, 1.0, replace_rate=0.0, random_rate=1.0)
    assert abs((masks.input_ids == ids).mean() - 1 / VOCABULARY) < 0.003
    assert masks.input_ids.min() == 0
    assert masks.input_ids.max() == VOCABULARY - 1


def test_a_row_of_special_tokens_has_no_mask():
    ids = np.stack([np.full(16, 1), words(1, 16)[0]]).astype(np.int32)
    masks = draw(ids, 0.5)
    assert (masks.labels[0] == IGNORED_LABEL).all()
    np.testing.assert_array_equal(masks.input_ids[0], ids[0])
    assert (masks.labels[1] != IGNORED_LABEL).sum() == 8


@given(
    st.integers(1, 6),
    st.integers(1, 40),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_invariants(rows, columns, probability, special_share, seed):
    random = np.random.default_rng(seed)
    ids = words(rows, columns, seed)
    ids[random.random(ids.shape) < special_share] = 2
    masks = draw(ids, probability, seed)
    slots = max_predictions(columns, probability)
    assert masks.positions.shape == masks.labels.shape == (rows, slots)
    assert all(len(set(row)) == slots for row in masks.positions.tolist())
    labels = masks.dense_labels
    chosen = labels != IGNORED_LABEL
    np.testing.assert_array_equal(labels[chosen], ids[chosen])
    np.testing.assert_array_equal(masks.input_ids[~chosen], ids[~chosen])
    assert not chosen[ids == 2].any()
    wanted = (ids != 2).sum(axis=1) * probability
    assert (np.abs(chosen.sum(axis=1) - wanted) < 1 + 1e-6).all()
    np.testing.assert_array_equal((masks.labels != IGNORED_LABEL).sum(axis=1), chosen.sum(axis=1))


def test_rates():
    """Within five standard deviations, at every position of the block."""
    ids = words(20_000, 30)
    ids[:, 0] = 0
    masks = draw(ids, 0.15)
    chosen = masks.dense_labels != IGNORED_LABEL
    share = chosen.mean(axis=0)
    assert share[0] == 0
    assert np.abs(share[1:] - 0.15).max() < 5 * np.sqrt(0.15 * 0.85 / 20_000)
    seen, true = masks.input_ids[chosen], ids[chosen]
    for rate, happened in (
        (0.8, seen == MASK),
        (0.1 * (1 - 1 / VOCABULARY), (seen != MASK) & (seen != true)),
        (0.1 * (1 + 1 / VOCABULARY), seen == true),
    ):
        assert abs(happened.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / len(seen))


def test_every_pair_of_positions_is_chosen_as_often():
    chosen = draw(words(40_000, 8), 0.25).dense_labels != IGNORED_LABEL
    together = chosen.T.astype(np.float64) @ chosen / len(chosen)  # (8, 8)
    pairs = together[~np.eye(8, dtype=bool)]
    np.testing.assert_allclose(pairs, 2 * 1 / (8 * 7), atol=5 * np.sqrt(0.036 / 40_000))


@pytest.mark.parametrize(
    ("block_size", "probability", "slots"),
    [(128, 0.15, 20), (100, 0.07, 7), (100, 0.15, 15), (8, 0.001, 1), (8, 0.0, 1), (8, 1.0, 8)],
)
def test_slots(block_size, probability, slots):
    assert max_predictions(block_size, probability) == slots


def test_the_collator_is_seeded():
    rows = [{"input_ids": ids, "attention_mask": np.ones(20, np.int8)} for ids in words(6, 20)]
    first, again, other = (MaskingCollator(Vocabulary(), 0.3, seed) for seed in (0, 0, 1))
    batches = [[collator(rows) for _ in range(3)] for collator in (first, again, other)]
    for one, same in zip(batches[0], batches[1], strict=True):
        assert one.keys() == same.keys() == {"input_ids", "attention_mask", "labels"}
        assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(batches[0][0]["labels"], batches[2][0]["labels"])
    assert not np.array_equal(batches[0][0]["labels"], batches[0][1]["labels"])
    later = MaskingCollator(Vocabulary(), 0.3, 0, first_batch=2)
    assert np.array_equal(later(rows)["labels"], batches[0][2]["labels"])
    later.restart()
    assert np.array_equal(later(rows)["labels"], batches[0][2]["labels"])


def test_a_rate_on_a_straight_line():
    """Batch by batch, and the same where training goes on at a later batch."""
    rate = MaskingRate(0.5, 0.1, batches=5)
    assert rate.largest == 0.5
    np.testing.assert_allclose([rate.at(batch) for batch in range(7)], [0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1])
    assert MaskingRate(0.1, 0.5, batches=1).at(0) == 0.1
    assert MaskingRate(0.2).at(1000) == MaskingRate(0.2).largest == 0.2
    rows = [{"input_ids": ids} for ids in words(6, 20)]
    collator = MaskingCollator(Vocabulary(), rate, 0)
    labels = [collator(rows)["labels"] for _ in range(5)]
    assert [(each != IGNORED_LABEL).sum(axis=1).tolist() for each in labels] == [[n] * 6 for n in (10, 8, 6, 4, 2)]
    later = MaskingCollator(Vocabulary(), rate, 0, first_batch=3)
    np.testing.assert_array_equal(later(rows)["labels"], labels[3])


@pytest.mark.parametrize("frozen", [False, True])
def test_several_batches_at_once_are_those_one_by_one(frozen):
    rate = MaskingRate(0.5, 0.1, batches=3)
    collators = [MaskingCollator(Vocabulary(), rate, 0, frozen=frozen) for _ in range(2)]
    ids = words(18, 20)
    together = collators[0].mask({"input_ids": ids}, batches=3)
    for part in range(3):
        alone = collators[1]([{"input_ids": row} for row in ids[part * 6 : part * 6 + 6]])
        for name, values in alone.items():
            np.testing.assert_array_equal(values, together[name][part * 6 : part * 6 + 6])


def test_frozen_masks_depend_on_the_batch_only():
    ids = words(12, 20)
    rows = [{"input_ids": row.tolist()} for row in ids]
    collator = MaskingCollator(Vocabulary(), 0.3, 0, frozen=True)
    first, second = collator(rows[:6]), collator(rows[6:])
    np.testing.assert_array_equal(
        MaskingCollator(Vocabulary(), 0.3, 0, frozen=True)(rows[6:])["labels"], second["labels"]
    )
    np.testing.assert_array_equal(collator(rows[:6])["labels"], first["labels"])
    assert not np.array_equal(first["labels"] == IGNORED_LABEL, second["labels"] == IGNORED_LABEL)


def test_through_prepare_tf_dataset():
    from datasets import Dataset
    from transformers import RobertaConfig, TFRobertaForMaskedLM

    ids = words(10, 16)
    blocks = Dataset.from_dict({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = TFRobertaForMaskedLM(RobertaConfig(vocab_size=VOCABULARY, **sizes))
    collator = MaskingCollator(Vocabulary(), 0.25, 0)
    dataset = model.prepare_tf_dataset(blocks, batch_size=5, shuffle=False, collate_fn=collator)
    for start, (inputs, labels) in zip((0, 5), dataset, strict=True):
        chosen = labels.numpy() != IGNORED_LABEL
        assert chosen.sum(axis=1).tolist() == [4] * 5
        true = ids[start : start + 5]
        np.testing.assert_array_equal(labels.numpy()[chosen], true[chosen])
        np.testing.assert_array_equal(inputs["input_ids"].numpy()[~chosen], true[~chosen])
        # The library's own loss takes the same labels.
        assert np.isfinite(model({**inputs, "labels": labels}).loss.numpy()).all()
