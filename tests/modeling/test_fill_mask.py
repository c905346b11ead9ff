"""Masks filled in this process: what transformers' own TensorFlow pipeline answers, text by text."""

import threading

import pytest

from components.modeling.fill_mask import FillMask
from foundation.errors import ConfigError, DataError, ModelError
from serving.client import TargetWarning
from tests.docstring_examples import run_example
from tests.modeling.tiny_models import all_slow_but, random_model
from tests.test_export import train_tokenizer

TEXTS = ["The <mask> Way is a spiral galaxy.", "Why is it <mask>?", "Why is it <mask>!", "The <mask> is <mask>."]


def close(one, other):
    """Answers that are equal but for the last digits of scores."""
    if isinstance(one, list):
        assert len(one) == len(other)
        for each, its in zip(one, other, strict=True):
            close(each, its)
    else:
        assert list(one) == ["score", "token", "token_str", "sequence"]
        assert one["score"] == pytest.approx(other["score"], rel=1e-4)
        assert {**one, "score": 0} == {**other, "score": 0}


def pair(name):
    """A small random model of an architecture here, and in transformers' pipeline."""
    from transformers import FillMaskPipeline

    tokenizer = train_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    model = random_model(name, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    return FillMask(model, tokenizer, batch_size=2), FillMaskPipeline(model=model, tokenizer=tokenizer, framework="tf")


@pytest.fixture(scope="module")
def bert():
    return pair("bert")


@pytest.mark.parametrize("name", all_slow_but(["bert"]))
def test_answers_are_those_of_transformers_pipeline(name):
    fill_mask, pipeline = pair(name)
    # Several masks and texts of several lengths; the pipeline asks one text after the other.
    close(fill_mask(TEXTS), pipeline(TEXTS))
    close(fill_mask(TEXTS[0], top_k=3), pipeline(TEXTS[0], top_k=3))


def test_targets_and_shapes_are_those_of_transformers_pipeline(bert):
    fill_mask, pipeline = bert
    for targets in (["s", "a", "ky"], ["a", "a"], "s"):
        close(fill_mask(TEXTS[0], targets=targets), pipeline(TEXTS[0], targets=targets))
    close(fill_mask([TEXTS[0]]), pipeline([TEXTS[0]]))
    assert len(fill_mask(TEXTS[0], top_k=10_000)) == len(fill_mask.tokenizer)
    assert fill_mask([]) == []
    two_masks = fill_mask(TEXTS[3], targets=["s", "a"])
    assert [len(each) for each in two_masks] == [2, 2]
    assert {each["token_str"] for each in two_masks[1]} == {"s", "a"}


def test_a_target_that_is_no_token_is_told(bert):
    fill_mask, pipeline = bert
    with pytest.warns(TargetWarning, match="`zebra` isn't one token: its first, `z`, stands for it"):
        answer = fill_mask(TEXTS[0], targets=["zebra", "s"])
    close(answer, pipeline(TEXTS[0], targets=["zebra", "s"]))


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"texts": "no mask"}, DataError, r"\(<mask>\).*'no mask'.*put <mask>"),
        ({"texts": "<mask> " + "why " * 600}, DataError, r"at most \d+ tokens"),
        ({"texts": [1]}, ConfigError, "texts must be"),
        ({"texts": 5}, ConfigError, "texts must be"),
        ({"texts": b"<mask>"}, ConfigError, "texts must be"),
        ({"texts": "<mask>", "top_k": 0}, ConfigError, "top_k must be"),
        ({"texts": "<mask>", "top_k": True}, ConfigError, "top_k must be"),
        ({"texts": "<mask>", "targets": []}, ConfigError, "targets must be a list of one or more words"),
        ({"texts": "<mask>", "targets": [3]}, ConfigError, "targets must be a list of one or more words"),
        ({"texts": "<mask>", "targets": 3}, ConfigError, "targets must be a list of one or more words"),
        ({"texts": "<mask>", "targets": [""]}, ConfigError, "not all of them empty"),
    ],
)
def test_what_can_not_be_answered_is_refused(bert, arguments, error, said):
    with pytest.raises(error, match=said):
        bert[0](**arguments)


def test_what_is_no_fill_mask_model_is_refused(bert):
    with pytest.raises(ConfigError, match="batch_size"):
        FillMask(bert[0].model, bert[0].tokenizer, batch_size=0)
    without = train_tokenizer()
    without.mask_token = None
    with pytest.raises(ModelError, match="must have a mask token"):
        FillMask(bert[0].model, without)


def test_the_example_in_the_docstring(bert, capsys):
    names = run_example(FillMask, {"FillMask": FillMask, "model": bert[0].model, "tokenizer": bert[0].tokenizer})
    assert names["best"]["sequence"] in capsys.readouterr().out
    assert [len(answer) for answer in names["answers"]] == [2, 2]


def test_several_threads_ask_one_model(bert):
    fill_mask, _ = bert
    expected = fill_mask(TEXTS[1])
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(fill_mask(TEXTS[1]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [expected] * 4
