"""Finds out from a served model which of the words that a user chooses from are not single tokens.

`num_tokens` of an answer counts a text's tokens, also where the text has no mask, and a request with one target shows
which token stands for it. So this works with any server that has the model, and needs no tokenizer here.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from foundation.text_answers import MASK_TOKENS, OK

if TYPE_CHECKING:
    from serving.client.answers import Transport

# What the tokenizers in use write where a word isn't in their vocabulary.
UNKNOWN_TOKENS = ("[UNK]", "<unk>")

# The bytes that byte-level BPE writes in its vocabulary as other characters, from U+0100 on.
_RENAMED_BYTES = [byte for byte in range(256) if not (33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255)]


class TargetWarning(UserWarning):
    """A target is no single token of the model, so that another text is scored than was asked for."""


async def remarks(transport: "Transport", words: list[str], text: str, rows: int) -> list[str]:
    """A remark on each word that isn't a single token.

    transformers' fill-mask pipeline warns of the same words and takes their first token, as the model does.

    Args:
        transport: Carries calls to a server whose model takes text.
        words: Targets, each once.
        text: One that the model answers.
        rows: The most texts of a request.

    Returns:
        A sentence for each such word.

    Raises:
        ServingError: If the server is out of reach or refuses.
    """
    forms = {word: list(other_forms(word)) for word in words}
    texts = list(dict.fromkeys(["", *MASK_TOKENS, *words, *itertools.chain.from_iterable(forms.values())]))
    counted = await _ask(transport, "serving_default", {"text": texts}, rows)
    around = counted[0]["num_tokens"]  # the special tokens, which every text has
    tokens = {one: row["num_tokens"] - around for one, row in zip(texts, counted, strict=True)}
    answered = {one for one, row in zip(texts, counted, strict=True) if row["status"] == OK}

    shortest = next((token for token in MASK_TOKENS if token in answered), text)
    scored_words = [word for word in words if word]  # no word at all would mean the whole vocabulary
    inputs: dict[str, list[Any]] = {
        "text": [shortest] * len(scored_words),
        "top_k": [1] * len(scored_words),
        "targets": scored_words,
    }
    scored = await _ask(transport, "fill_mask", inputs, rows)
    stand_ins = {
        word: row["token_str"][0][0] for word, row in zip(scored_words, scored, strict=True) if row["status"] == OK
    }
    found = (
        remark(word, stand_ins.get(word), tokens[word], next((form for form in forms[word] if tokens[form] == 1), None))
        for word in words
    )
    return [one for one in found if one]


def remark(word: str, stand_in: str | None, tokens: int, meant: str | None) -> str | None:
    """The remark on a word; None where there is nothing to remark.

    Args:
        word: The target.
        stand_in: The text of the token that the model takes for it; None if it has none.
        tokens: How many tokens the word is.
        meant: Another form of the word that is one token, if there is any.
    """
    if stand_in is None:
        return f"`{word}` has no token in the model's vocabulary: it is left out"
    # The name of a token in the vocabulary, such as `##ing` or `Ġof`, stands for that token however it's tokenized.
    if stand_in in (word, from_byte_level(word)):
        return None
    if stand_in in UNKNOWN_TOKENS:
        return f"`{word}` isn't in the model's vocabulary: its `{stand_in}`, which means any such word, stands for it"
    if tokens == 1:
        return None
    if meant is None:
        return f"`{word}` isn't one token: its first, `{stand_in}`, stands for it"
    return f"`{word}` isn't one token: did you mean `{meant}`? Its first token, `{stand_in}`, stands for it"


def other_forms(word: str) -> Iterator[str]:
    """Other spellings that the user may have meant: with a space before the word or without it, and in lowercase."""
    bare = word.strip()
    for form in (f" {bare}", bare, f" {bare.lower()}", bare.lower()):
        if bare and form != word:
            yield form


def from_byte_level(name: str) -> str:
    """The text of the token with this name in the vocabulary of a byte-level BPE; any other name stays as it is."""
    try:
        return bytes(ord(one) if ord(one) < 256 else _RENAMED_BYTES[ord(one) - 256] for one in name).decode()
    except (IndexError, UnicodeDecodeError):
        return name


async def _ask(transport: "Transport", signature: str, inputs: dict[str, list[Any]], rows: int) -> list[dict[str, Any]]:
    """A signature's outputs as one dictionary for each row, asked in as many requests as needed."""
    answers: list[dict[str, Any]] = []
    for part in _parts(inputs, rows):
        outputs = await transport.predict(signature, part)
        answers += [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    return answers


def _parts(inputs: dict[str, list[Any]], rows: int) -> Iterable[dict[str, list[Any]]]:
    """The inputs, at most `rows` rows at a time; nothing for no rows, which a batching server never answers."""
    for start in range(0, len(next(iter(inputs.values()))), rows):
        yield {name: values[start : start + rows] for name, values in inputs.items()}
