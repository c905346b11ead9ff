"""Batches of short documents: as short as their documents, with the result that whole blocks give."""

import numpy as np
import pytest
import tensorflow as tf
from datasets import load_from_disk
from hypothesis import given
from hypothesis import strategies as st

from components.blocks.writer import BlockWriter
from components.masking.masking import IGNORED_LABEL, MaskingCollator, max_predictions
from components.masking.shares import Share
from components.masking.whole_words import WordBoundaries
from components.modeling.architectures.records import architecture_of, can_be_trimmed
from components.modeling.library.adapter import as_masked_lm
from components.training.batches import batches, in_training_order
from components.training.inputs import require_documents_to_group
from components.training.lengths import batch_lengths, lengths_of_batches, lengths_of_blocks
from components.training.optimizer import AdamW
from components.training.params import TrainParams
from components.training.training_model import MaskedLMTraining
from foundation.errors import ConfigError
from tests.modeling.tiny_models import MODELS, VOCABULARY, all_slow_but, random_model

BLOCK_SIZE, BLOCKS, RATE = 32, 24, 0.3


class Vocabulary:
    """What the collator asks of a tokenizer; the padding token is 1."""

    all_special_ids = (0, 1, 2, 3, 4)
    mask_token_id = 4

    def __len__(self):
        return VOCABULARY


WORDS = WordBoundaries(np.arange(VOCABULARY) % 3 == 0, np.zeros(VOCABULARY, np.bool_))


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Documents of 1 to 32 tokens, most of them short, with those of one length side by side."""
    random = np.random.default_rng(0)
    lengths = np.sort(np.ceil(BLOCK_SIZE * random.random(BLOCKS) ** 3)).astype(int)
    lengths[-1] = BLOCK_SIZE
    of_documents = np.where(np.arange(BLOCK_SIZE) < lengths[:, None], 1, 0).astype(np.int16)
    ids = np.where(of_documents > 0, random.integers(5, VOCABULARY, (BLOCKS, BLOCK_SIZE)), 1).astype(np.int32)
    directory = tmp_path_factory.mktemp("documents") / "train"
    with BlockWriter(directory, BLOCK_SIZE) as writer:
        for rows in np.array_split(np.arange(BLOCKS), 3):
            writer.write(ids[rows], of_documents[rows])
    return load_from_disk(str(directory)), lengths


def test_the_lengths_are_few_and_suffice():
    assert batch_lengths(512).tolist() == [64, 128, 256, 384, 512]
    assert batch_lengths(100).tolist() == [16, 32, 56, 80, 100]
    assert batch_lengths(5).tolist() == [5]


@given(st.integers(1, 700), st.data())
def test_a_batch_gets_the_shortest_length_that_its_longest_block_fits_into(block_size, data):
    longest = data.draw(st.lists(st.integers(1, block_size), min_size=1))
    allowed = batch_lengths(block_size)
    for tokens, length in zip(longest, lengths_of_batches(np.array(longest), block_size), strict=True):
        assert length == min(each for each in allowed if each >= tokens)


def test_lengths_are_read_from_the_blocks(documents):
    blocks, lengths = documents
    np.testing.assert_array_equal(lengths_of_blocks(blocks), lengths)


@pytest.mark.parametrize("words", [None, WORDS])
def test_cut_batches_are_the_whole_ones_without_padding(documents, words):
    """In training order, from any batch on, and of one of two processes."""
    blocks, lengths = documents
    order = in_training_order(BLOCKS, 2, BLOCKS, seed=1)

    def drawn(lengths, share=None, first_batch=0):
        masking = MaskingCollator(Vocabulary(), 0.3, 0, words=words, share=share, first_batch=first_batch)
        return list(batches(random_model("roberta"), blocks, 4, masking, order, lengths=lengths).as_numpy_iterator())

    whole, cut = drawn(None), drawn(lengths)
    own = drawn(lengths, Share(4, np.array([1, 2])), first_batch=3)
    assert len(whole) == len(cut) == len(own) + 3 == 12
    longest = lengths[order].reshape(12, 4).max(axis=1)
    seen = set()
    for number, ((inputs, labels), (cut_inputs, cut_labels)) in enumerate(zip(whole, cut, strict=True)):
        length = lengths_of_batches(longest[number : number + 1], BLOCK_SIZE)[0]
        seen.add(length)
        for name, values in {**inputs, "labels": labels}.items():
            of_cut = {**cut_inputs, "labels": cut_labels}[name]
            np.testing.assert_array_equal(of_cut, values[:, :length])
        assert (inputs["attention_mask"][:, length:] == 0).all()
        assert (labels[:, length:] == IGNORED_LABEL).all()
        if number >= 3:
            np.testing.assert_array_equal(own[number - 3][1], cut_labels[1:3])
    assert len(seen) > 1


def test_grouped_documents_are_those_of_the_epoch_in_steps_of_like_lengths():
    lengths = np.random.default_rng(0).integers(1, 500, 1013)
    plain = in_training_order(1013, 3, 1008, seed=4).reshape(3, -1)
    grouped = in_training_order(1013, 3, 1008, seed=4, lengths=lengths, blocks_a_step=8).reshape(3, -1)
    for epoch, of_plain in zip(grouped, plain, strict=True):
        # 50 steps at a time have the blocks that they have without groups.
        assert set(epoch.tolist()) == set(of_plain.tolist())
    steps, plain_steps = (lengths[order].reshape(-1, 8) for order in (grouped, plain))
    assert np.ptp(steps, axis=1).mean() < 0.1 * np.ptp(plain_steps, axis=1).mean()
    # Neither the steps nor the blocks in them are sorted.
    for values in (steps.max(axis=1)[:126], *steps.T):
        assert abs(np.corrcoef(values, np.arange(len(values)))[0, 1]) < 0.3
    assert abs((steps[:, 0] - steps[:, -1]).mean()) < 3
    # A longer training begins as a shorter one does.
    shorter = in_training_order(1013, 2, 1008, seed=4, lengths=lengths, blocks_a_step=8)
    np.testing.assert_array_equal(shorter.reshape(2, -1), grouped[:2])


def test_grouping_is_refused_where_blocks_have_one_length():
    params = TrainParams(model_type="roberta", group_by_length=True)
    require_documents_to_group(params, "documents")
    with pytest.raises(ConfigError, match=r"only with preprocess\.packing documents.*packing packed"):
        require_documents_to_group(params, "packed")


def trained(documents, lengths, name, **settings):
    """The losses of some steps, and the weights after them."""
    blocks, _ = documents
    tf.keras.utils.set_random_seed(3)
    no_dropout = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
    model = random_model(name, num_hidden_layers=1, **no_dropout)
    predictions = max_predictions(BLOCK_SIZE, RATE)
    training = MaskedLMTraining(model, predictions, block_size=BLOCK_SIZE, **settings)
    training.compile(optimizer=AdamW(1e-2, epsilon=1e-3, weight_decay_rate=0.01))
    words = WORDS if settings.get("whole_words") else None
    masking = MaskingCollator(Vocabulary(), RATE, 0, words=words)
    order = np.arange(BLOCKS)
    dataset = batches(model, blocks, 4, masking, order, lengths=lengths)
    losses = [training.fit(dataset.skip(step).take(1), verbose=0).history["loss"][0] for step in (1, 5)]
    frozen = MaskingCollator(Vocabulary(), RATE, 0, frozen=True)
    validation = training.evaluate(batches(model, blocks, 7, frozen, lengths=lengths), verbose=0)
    return [*losses, validation], [weight.numpy() for weight in model.weights]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("roberta", {"accumulation_steps": 2}),
        pytest.param("roberta", {"whole_words": True}, marks=pytest.mark.slow),
        pytest.param("roformer", {"compiled": True}, marks=pytest.mark.slow),
        pytest.param("modernbert", {"gradient_checkpointing": True}, marks=pytest.mark.slow),
    ],
)
def test_a_training_on_cut_batches_is_that_on_whole_ones(documents, name, settings):
    losses, weights = trained(documents, documents[1], name, **settings)
    whole_losses, whole_weights = trained(documents, None, name, **settings)
    np.testing.assert_allclose(losses, whole_losses, rtol=1e-5)
    for one, other in zip(weights, whole_weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("name", all_slow_but(("convbert", "deberta-v2", "longformer", "modernbert", "xlm"), MODELS))
def test_less_padding_changes_nothing_where_the_record_says_so(name):
    """And where it says that padding is seen, it is."""
    model = random_model(name)
    ids = np.random.default_rng(0).integers(5, VOCABULARY - 1, (2, 16)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[0, 12:], mask[1, 5:] = 0, 0
    ids[mask == 0] = getattr(model.config, "pad_token_id", None) or 0
    inputs = {"input_ids": ids, "attention_mask": mask}

    def logits(length):
        given = {name: tf.constant(values[:, :length]) for name, values in inputs.items()}
        return as_masked_lm(model).logits(given).numpy()[:, :12] * mask[:, :12, None]

    difference = np.abs(logits(16) - logits(12)).max() / np.abs(logits(16)).max()
    if architecture_of(model.config).ignores_padding(model.config):
        assert difference < 1e-5
        assert can_be_trimmed(model.config)
    elif name not in ("funnel factorized", *(each for each in MODELS if each.startswith("nystromformer"))):
        assert difference > 1e-3
