"""MODEL.md says how the client is asked, in lines that work as they stand."""

import ast
import re
import shlex

import pytest

from serving.client.__main__ import make_parser
from serving.graph.model_description import write
from serving.graph.saved_model_extras import example_inputs

FACTS = {
    "mask_token": "<mask>",
    "max_sequence_length": 64,
    "top_k": 5,
    "max_top_k": 100,
    "why_no_text_signatures": "Metaspace",
    "truncation": False,
    "in_graph_batching": True,
}


@pytest.mark.parametrize("takes_text", [True, False])
@pytest.mark.parametrize("example", ["The sky is <mask>.", "--It's{<mask>}$HOME"])
def test_the_client_is_asked_with_the_example(takes_text, example):
    text = write({**FACTS, "text_signatures": takes_text, "example": {"text": example}}, [0, 4, 2])
    [command] = re.findall(r"^python -m serving\.client .*$", text, re.MULTILINE)
    asked = make_parser().parse_args(shlex.split(command)[3:])
    assert (asked.texts, asked.model) == ([example], "fill_mask")
    [code] = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    constants = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    assert example in constants
    assert "http://127.0.0.1:8501" in constants
    tokenizer = "<base path>/fill_mask/<number>/assets.extra/tokenizer"
    assert (str(asked.tokenizer) == tokenizer) != takes_text
    assert (tokenizer in constants) != takes_text


def test_languages_are_listed_by_their_numbers_where_there_are_some():
    facts = {**FACTS, "text_signatures": True, "example": {"text": "a"}}
    assert "tokens_in_language" not in write(facts, [0])
    assert "0 (en_XX), 1 (de_DE)." in write({**facts, "languages": ("en_XX", "de_DE")}, [0])


def test_the_example_has_a_value_of_every_input_that_a_signature_may_have():
    """Also of the language that a request to an X-MOD chooses."""
    inputs = ["input_ids", "attention_mask", "language_ids"]
    facts = {**FACTS, "example": {"text": "a"}, "signatures": {"tokens_in_language": {"inputs": inputs}}}
    values = example_inputs(facts, "tokens_in_language", [0, 4, 2])
    assert {name: value.tolist() for name, value in values.items()} == {
        "input_ids": [[0, 4, 2]],
        "attention_mask": [[1, 1, 1]],
        "language_ids": [0],
    }
