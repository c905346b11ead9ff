"""A model that truncates answers as the pipeline does with `truncation=True`, and says so of each text."""

import copy

import pytest
import tensorflow as tf

from serving.graph.tokenizers.build import build_in_graph_tokenizer
from tests.serving.graph.test_signatures import LONGEST, Served, assert_answers, assert_padding

TRUNCATED, NO_MASK_WITHIN = f"truncated_to_{LONGEST}_tokens".encode(), f"no_mask_within_{LONGEST}_tokens".encode()
CUT = {"tokenizer_kwargs": {"truncation": True, "max_length": LONGEST}}


@pytest.fixture(scope="module")
def served(byte_level_tokenizer, tmp_path_factory):
    return Served(byte_level_tokenizer, tmp_path_factory.mktemp("saved_model"), truncation=True)


def cut(in_graph, texts, longest):
    """The ids of texts, as many as fit into so many with the special tokens around them."""
    function = tf.function(lambda texts: in_graph.truncate(in_graph.tokenize(texts), longest), autograph=False)
    return function(tf.constant(texts))


def texts_of(served):
    """Texts by the status that they must have."""
    mask = served.tokenizer.mask_token
    around = len(served.tokenizer("")["input_ids"])
    return {
        f"The sky is {mask}.": b"ok",
        f"The {mask} sky {'is blue ' * 60}": TRUNCATED,
        f"{'The sky ' * 60} is {mask} now": NO_MASK_WITHIN,
        "The sky is blue. " * 60: b"no_mask",
        mask * (LONGEST - around): b"ok",
        mask * (LONGEST - around + 1): TRUNCATED,
        mask * 2000: TRUNCATED,
        f"{mask} {'The sky ' * 60} {mask}": TRUNCATED,
        "": b"no_mask",
    }


@pytest.mark.parametrize("more", [{}, {"top_k": [2]}])
def test_answers_are_the_pipelines_and_the_status_says_what_was_cut(served, more):
    texts = texts_of(served)
    outputs = served.ask(list(texts), **({**more, "targets": [""]} if more else {}))
    assert dict(zip(texts, outputs["status"].tolist(), strict=True)) == texts
    assert outputs["num_tokens"].tolist() == [len(ids) for ids in served.tokenizer(list(texts))["input_ids"]]
    for row, (text, status) in enumerate(texts.items()):
        if status in (b"ok", TRUNCATED):
            assert_answers(outputs, row, served.expected(text, **CUT, **({"top_k": 2} if more else {})), status)
        else:
            assert outputs["num_masks"][row] == 0
            assert_padding(outputs, row)


def test_other_reasons_go_before_the_cut(served):
    text = next(text for text, status in texts_of(served).items() if status == TRUNCATED)
    outputs = served.ask([text] * 3, top_k=[0, 3, 3], targets=["", "\n", "the"])
    assert outputs["status"].tolist() == [b"invalid_top_k", b"no_target", TRUNCATED]


@pytest.mark.parametrize("name", ["byte_level_tokenizer", pytest.param("wordpiece_tokenizer", marks=pytest.mark.slow)])
@pytest.mark.parametrize("side", ["right", "left"])
def test_ids_are_those_of_the_tokenizer(request, prose, name, side):
    tokenizer = copy.deepcopy(request.getfixturevalue(name))
    tokenizer.truncation_side = side
    in_graph = build_in_graph_tokenizer(tokenizer)
    texts = ["", "a", f"{tokenizer.mask_token} of " * 9, *prose[:50]]
    for longest in (2, 3, 9):
        ids = cut(in_graph, texts, longest)
        assert in_graph.enclose(ids).to_list() == tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
