"""The order of blocks, and the batches that `fit` sees."""

import inspect

import numpy as np
import pytest
from datasets import Dataset, load_from_disk
from transformers import RobertaConfig, TFRobertaForMaskedLM

from components.blocks.writer import BlockWriter
from components.masking.masking import IGNORED_LABEL, MaskingCollator, MaskingRate
from components.masking.whole_words import WordBoundaries
from components.training import batches as batches_module
from components.training.batches import BlockReader, batches, in_training_order
from tests.modeling.tiny_models import random_model


def test_the_order_of_blocks_differs_by_epoch_and_leaves_none_out():
    order = in_training_order(11, epochs=40, blocks_an_epoch=10, seed=0)
    epochs = np.reshape(order, (40, 10))
    assert all(len(set(epoch)) == 10 for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 40
    assert set(order.tolist()) == set(range(11))
    np.testing.assert_array_equal(in_training_order(11, 40, 10, seed=0), order)
    assert order.dtype == np.int32
    random = np.random.default_rng(0)
    np.testing.assert_array_equal(epochs, [random.permutation(11)[:10] for _ in range(40)])


class Vocabulary:
    """What the collator asks of a tokenizer."""

    all_special_ids = (0, 1, 2, 3, 4)
    mask_token_id = 4

    def __len__(self):
        return 100


def test_batches_from_some_batch_on_are_those_of_the_whole():
    ids = np.random.default_rng(0).integers(5, 100, (22, 16)).astype(np.int32)
    blocks = Dataset.from_dict({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = TFRobertaForMaskedLM(RobertaConfig(vocab_size=100, **sizes))

    def drawn(first_batch):
        collator = MaskingCollator(Vocabulary(), 0.3, seed=5, first_batch=first_batch)
        dataset = batches(model, blocks, 4, collator, np.arange(22))
        return [{**inputs, "labels": labels} for inputs, labels in dataset.as_numpy_iterator()]

    whole = drawn(0)
    assert len(whole) == 5
    for first_batch in (1, 3, 4):
        rest = drawn(first_batch)
        assert len(rest) == 5 - first_batch
        for one, other in zip(whole[first_batch:], rest, strict=True):
            assert all(np.array_equal(one[name], other[name]) for name in ("input_ids", "labels"))
    by_hand = MaskingCollator(Vocabulary(), 0.3, seed=5)
    first = by_hand([{"input_ids": row, "attention_mask": np.ones(16, np.int32)} for row in ids[:4]])
    assert np.array_equal(first["labels"], whole[0]["labels"])


WORDS = WordBoundaries(np.arange(100) % 3 != 0, np.arange(100) % 7 == 0)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Packed blocks in a file of several record batches, as the preprocess step writes them."""
    random = np.random.default_rng(0)
    with BlockWriter(tmp_path_factory.mktemp("blocks") / "train", 16, with_document_ids=True) as writer:
        for count in (5, 1, 20, 14):
            document_ids = np.sort(random.integers(1, 4, (count, 16)), axis=1).astype(np.int16)
            document_ids = np.unique(document_ids, return_inverse=True)[1].reshape(count, 16).astype(np.int16) + 1
            document_ids[:, 13:] = 0
            ids = np.where(document_ids > 0, random.integers(5, 100, (count, 16)), 1).astype(np.int32)
            writer.write(ids, document_ids)
    return load_from_disk(str(writer._directory))


def test_blocks_are_read_by_number(packed):
    expected = packed.with_format("numpy")[:]
    reader = BlockReader(packed)
    numbers = np.random.default_rng(1).integers(0, 40, 60)
    read = reader.read(numbers)
    assert set(read) == {"input_ids", "attention_mask", "document_ids"}
    assert [read[name].dtype for name in read] == [np.int32, np.int8, np.int16]
    for name, values in read.items():
        np.testing.assert_array_equal(values, expected[name][numbers])
    chosen = BlockReader(packed.select([7, 3, 30])).read(np.array([2, 0]))
    np.testing.assert_array_equal(chosen["input_ids"], expected["input_ids"][[30, 7]])


@pytest.mark.parametrize("model_type", ["roberta", "roformer", "xlm"])
def test_packed_batches_are_those_of_the_blocks_from_any_batch_on(packed, model_type, monkeypatch):
    """Read 3 batches at once, with whole words at a falling rate: training that goes on sees the same."""
    monkeypatch.setattr(batches_module, "BLOCKS_A_READ", 12)
    model = random_model(model_type)
    has_positions = "position_ids" in inspect.signature(model.call).parameters
    order = in_training_order(40, 2, 40, seed=3)
    expected = packed.with_format("numpy")[:]

    def drawn(first_batch):
        rate = MaskingRate(0.5, 0.1, 20)
        collator = MaskingCollator(Vocabulary(), rate, 0, words=WORDS, first_batch=first_batch)
        return list(batches(model, packed, 4, collator, order).as_numpy_iterator())

    whole = drawn(0)
    assert len(whole) == 20
    for number, (inputs, labels) in enumerate(whole):
        assert set(inputs) == {"input_ids", "attention_mask"} | ({"position_ids"} if has_positions else set())
        rows = order[number * 4 : number * 4 + 4]
        chosen = labels != IGNORED_LABEL
        true = np.where(chosen, labels, inputs["input_ids"])
        np.testing.assert_array_equal(true, expected["input_ids"][rows])
        np.testing.assert_array_equal(inputs["attention_mask"], expected["document_ids"][rows])
        assert not (chosen & (inputs["attention_mask"] == 0)).any()
    shares = [(labels != IGNORED_LABEL).sum() / (4 * 13) for _, labels in whole]
    assert np.mean(shares[:5]) > 0.38 > 0.22 > np.mean(shares[-5:])
    for first_batch in (1, 7):
        for (inputs, labels), (same_inputs, same_labels) in zip(drawn(first_batch), whole[first_batch:], strict=True):
            np.testing.assert_array_equal(labels, same_labels)
            assert all(np.array_equal(values, same_inputs[name]) for name, values in inputs.items())


def test_all_blocks_as_they_stand_with_a_smaller_last_batch(packed):
    model = random_model("roberta")
    collator = MaskingCollator(Vocabulary(), 0.3, 0, frozen=True)
    plain = packed.remove_columns("document_ids")
    sizes = [len(labels) for _, labels in batches(model, plain, 16, collator).as_numpy_iterator()]
    assert sizes == [16, 16, 8]
