"""A checkpoint whose tokenizer has words added to it."""

import numpy as np
import pytest
import tensorflow as tf
from transformers import BertTokenizerFast

from components.modeling.growing import grow, pieces_of_new_words
from components.modeling.library.adapter import as_masked_lm
from components.modeling.library.rotary import with_fixed_rotary
from components.modeling.pytorch_weights import pytorch_weights
from tests.modeling.tiny_models import MODELS, VOCABULARY, all_slow_but, random_model, token_batch

PIECES = {VOCABULARY: [7, 9, 11], VOCABULARY + 1: [8], VOCABULARY + 2: []}


@pytest.mark.parametrize("name", all_slow_but(["bert", "albert", "mobilebert"], MODELS))
def test_new_rows_are_the_mean_of_their_pieces_and_all_else_stays(name: str) -> None:
    model = random_model(name)
    inputs = {key: tf.constant(value) for key, value in token_batch().items()}
    before, (old, _) = as_masked_lm(model).logits(inputs).numpy(), pytorch_weights(model)
    grown = grow(model, PIECES)
    after, (new, _) = as_masked_lm(grown).logits(inputs).numpy(), pytorch_weights(grown)
    assert grown.config.vocab_size == after.shape[-1] == VOCABULARY + 3
    np.testing.assert_allclose(after[..., :VOCABULARY], before, atol=1e-5)
    np.testing.assert_allclose(after[..., VOCABULARY], before[..., [7, 9, 11]].mean(-1), atol=1e-5)
    np.testing.assert_allclose(after[..., VOCABULARY + 1], before[..., 8], atol=1e-5)
    np.testing.assert_allclose(after[..., VOCABULARY + 2], before.mean(-1), atol=1e-5)
    assert old.keys() == new.keys()
    rows = 0
    for key, array in new.items():
        if array.size and array.shape[0] != old[key].shape[0]:
            rows += 1
            np.testing.assert_array_equal(array[:VOCABULARY], old[key])
            np.testing.assert_allclose(array[VOCABULARY], old[key][[7, 9, 11]].mean(0), rtol=1e-5, atol=1e-7)
    assert rows >= 1


def test_a_roformer_that_is_loaded_for_training_grows() -> None:
    """Its angles aren't trained there, so that they stand last among its weights."""
    model = with_fixed_rotary(random_model("roformer"))
    [old] = [weight.numpy() for weight in model.weights if "word_embeddings" in weight.name]
    [new] = [weight.numpy() for weight in grow(model, PIECES).weights if "word_embeddings" in weight.name]
    np.testing.assert_array_equal(new[:VOCABULARY], old)
    np.testing.assert_allclose(new[VOCABULARY], old[[7, 9, 11]].mean(0), rtol=1e-5, atol=1e-7)


def test_rows_that_the_model_has_to_spare_are_filled() -> None:
    model = random_model("bert")
    grown = grow(model, {VOCABULARY - 1: [7, 9]})
    assert grown is model
    assert grown.config.vocab_size == VOCABULARY
    [table] = [weight.numpy() for weight in model.weights if "word_embeddings" in weight.name]
    np.testing.assert_allclose(table[-1], table[[7, 9]].mean(0), rtol=1e-6)


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "tar", "##di", "##grade", "ant"]


def wordpiece(directory, words=WORDS):
    directory.mkdir(exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(words))
    return BertTokenizerFast(str(directory / "vocab.txt"))


def test_a_new_word_has_the_pieces_that_it_had_before(tmp_path) -> None:
    own, longer = wordpiece(tmp_path), wordpiece(tmp_path)
    longer.add_tokens(["tardigrade", "antgrade"])
    expected = {10: [6, 7, 8], 11: [9, 8]}
    assert pieces_of_new_words(longer, own, 10) == expected
    assert pieces_of_new_words(longer, None, 10) == expected, "without the checkpoint's own tokenizer"
    assert pieces_of_new_words(longer, longer, 10) == expected, "the checkpoint's folder has the longer one"
    assert pieces_of_new_words(longer, own, 64) == expected, "rows to spare"
    assert pieces_of_new_words(longer, longer, 12) == {}, "a checkpoint that has grown"
    assert pieces_of_new_words(own, own, 10) == {}
    in_its_place = wordpiece(tmp_path, [*WORDS[:5], "tardigrade", *WORDS[6:]])
    assert pieces_of_new_words(in_its_place, own, 10) == {5: [6, 7, 8]}
