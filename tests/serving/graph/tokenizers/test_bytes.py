"""Perceiver's tokenizer of bytes: its fast form gives the ids and texts of the library's, and so does the graph."""

import pytest
from transformers import AutoTokenizer, PerceiverTokenizer

from components.tokenizers.byte_tokenizers import as_fast
from components.tokenizers.loading import load_local
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from tests.serving.graph.tokenizers.differences import Comparison, random_texts

TEXTS = [
    "",
    " ",
    "a",
    "It's 12 o'clock. [MASK]\n",
    "[CLS][MASK][SEP] [MASK ]",
    "h\u00e9llo \u6f22\u5b57 \U0001d11e\0 x\u200d",
]


@pytest.fixture(scope="module")
def slow():
    return PerceiverTokenizer()


@pytest.fixture(scope="module")
def fast(slow):
    return as_fast(slow)


def test_its_fast_form_gives_the_same_ids_and_texts(slow, fast):
    for text in [*TEXTS, *random_texts(slow.all_special_tokens, 300, 1)]:
        ids = slow(text)["input_ids"]
        assert fast(text)["input_ids"] == ids
        for skip in (True, False):
            assert fast.decode(ids, skip_special_tokens=skip) == slow.decode(ids, skip_special_tokens=skip)
    cut_inside_of_a_character = slow("\u6f22\u5b57")["input_ids"][2:6]
    assert fast.decode(cut_inside_of_a_character) == slow.decode(cut_inside_of_a_character)


def test_it_is_loaded_from_a_folder_without_a_vocabulary_and_saved_as_any_other(slow, fast, tmp_path):
    slow.save_pretrained(tmp_path / "perceiver")
    loaded, notes = load_local(tmp_path / "perceiver")
    assert loaded.is_fast
    assert notes == []
    loaded.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert again.get_vocab() == fast.get_vocab()
    assert again.model_max_length == slow.model_max_length
    for role in ("mask", "pad", "cls", "sep", "bos", "eos"):
        assert getattr(again, f"{role}_token_id") == getattr(slow, f"{role}_token_id")
    assert len(again) == len(slow) == 262


def test_words_that_were_added_keep_their_ids(slow):
    longer = PerceiverTokenizer()
    longer.add_tokens(["tumor", "stent"])
    assert as_fast(longer)("a stent, a tumor")["input_ids"] == longer("a stent, a tumor")["input_ids"]


def test_it_goes_into_the_graph(fast):
    comparison = Comparison(fast, build_in_graph_tokenizer(fast))
    assert not comparison.differences([*TEXTS, *random_texts(fast.all_special_tokens, 300, 2)])


def test_another_tokenizer_stays_as_it_is(fast):
    assert as_fast(fast) is fast
