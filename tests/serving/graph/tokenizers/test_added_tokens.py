"""Literal special tokens in a text."""

import functools

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import ModelError
from serving.graph.tokenizers.added_tokens import AddedTokens

PLAIN = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
TOKENS = [
    PLAIN | {"content": "<mask>", "lstrip": True},
    PLAIN | {"content": "</s>"},
    PLAIN | {"content": "<r>", "rstrip": True},
    PLAIN | {"content": "[a"},
    PLAIN | {"content": "[ab"},
]
WORDS = [
    *TOKENS,
    PLAIN | {"content": "cat", "single_word": True, "lstrip": True},
    PLAIN | {"content": "cat fish", "single_word": True, "lstrip": True},
    PLAIN | {"content": "fish", "single_word": True, "rstrip": True},
    PLAIN | {"content": "C++", "single_word": True},
    PLAIN | {"content": "火"},
]


KINDS = {"anywhere": TOKENS, "whole words": WORDS}


@functools.cache
def built(kind):
    return AddedTokens(KINDS[kind])


def pieces_of(text, kind="anywhere"):
    pieces, is_added, rows = built(kind)(tf.constant([text.encode()]))
    assert not rows.numpy().any()
    return [
        (piece.decode(), bool(added))
        for piece, added in zip(pieces.numpy(), is_added.numpy(), strict=True)
        if piece or added
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a \u3000<mask> b", [("a", False), ("<mask>", True), (" b", False)]),
        ("<mask>  <mask>", [("<mask>", True), ("<mask>", True)]),
        ("</s> <mask></s>", [("</s>", True), ("<mask>", True), ("</s>", True)]),
        ("<r>  <mask> <r> \n x", [("<r>", True), ("<mask>", True), (" ", False), ("<r>", True), ("x", False)]),
        ("[abc[a b", [("[ab", True), ("c", False), ("[a", True), (" b", False)]),
        ("<mask", [("<mask", False)]),
    ],
)
def test_split(text, expected):
    assert pieces_of(text) == expected


BESIDE = [" ", "\t", "x", "<", "a", "\xff", "\u0301", "_", "9", "-", "'"]


@pytest.mark.parametrize("kind", ["anywhere", pytest.param("whole words", marks=pytest.mark.slow)])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_split_equals_the_fast_tokenizer(kind, data):
    from tokenizers import AddedToken, Tokenizer, models

    tokens = KINDS[kind]
    text = "".join(data.draw(st.lists(st.sampled_from([token["content"] for token in tokens] + BESIDE))))
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.add_special_tokens(
        [AddedToken(token["content"], **{key: token[key] for key in PLAIN}) for token in tokens]
    )
    # Without a pre-tokenizer everything between two added tokens is one unknown word.
    expected = [tokenizer.id_to_token(token) for token in tokenizer.encode(text).ids]
    assert [piece if added else "?" for piece, added in pieces_of(text, kind)] == expected


def test_rows_and_words_keep_apart():
    texts = ["a cat", "cat", "", "xcat", "catfish cat fish"]
    pieces, is_added, rows = built("whole words")(tf.constant(texts))
    found = [
        (int(row), piece.decode()) for row, piece, added in zip(rows, pieces.numpy(), is_added, strict=True) if added
    ]
    assert found == [(0, "cat"), (1, "cat"), (4, "cat fish")]


@pytest.mark.parametrize(
    ("tokens", "received"),
    [
        ([PLAIN | {"content": "<mask>", "lstrip": True}, PLAIN | {"content": "  "}], "blank"),
        ([PLAIN | {"content": "<m>", "lstrip": True}, PLAIN | {"content": "<m>x"}], "begins with"),
        ([PLAIN | {"content": "abc"}, PLAIN | {"content": "cd", "normalized": True}], "overlap"),
    ],
)
def test_ambiguous_tokens_are_refused(tokens, received):
    with pytest.raises(ModelError, match=received):
        AddedTokens(tokens)
