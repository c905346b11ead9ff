"""Grows a checkpoint by words that were added to its tokenizer.

A new word starts from what the model knows of the pieces that the word had before: its row of the embedding, and of an
output matrix of its own, is the mean of their rows, and its output bias the mean of their biases. So its logit is, at
first, the mean of their logits.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.modeling.new_model import has_design, new_masked_lm

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer
    from transformers import PreTrainedTokenizerBase, TFPreTrainedModel


def pieces_of_new_words(
    tokenizer: "PreTrainedTokenizerBase", own: "PreTrainedTokenizerBase | None", vocabulary_size: int
) -> dict[int, list[int]]:
    """The words that a tokenizer has and a checkpoint doesn't know, each with the ids of the pieces that it had before.

    Unknown are those that the checkpoint's own tokenizer lacks, and those beyond the model's vocabulary.

    Args:
        tokenizer: The longer one. `require_vocabulary` and `require_own_vocabulary` have found it to be the
            checkpoint's own but for these words.
        own: The checkpoint's own tokenizer; None where it carries none.
        vocabulary_size: The model's.

    Returns:
        Ids of pieces by id of the word, ascending; an empty list where they can't be told.
    """
    there = {} if own is None else own.get_vocab()
    new: dict[int, str] = {
        id_: token
        for token, id_ in tokenizer.get_vocab().items()
        if id_ >= vocabulary_size or (own is not None and token not in there)
    }
    if not new:
        return {}
    before = own if own is not None and not there.keys() & set(new.values()) else None
    without = None if before is not None else _without(tokenizer, set(new))
    described = tokenizer.added_tokens_decoder
    pieces = {}
    for id_, token in sorted(new.items()):
        # A token that takes the blank before it stands for the word with its blank.
        text = f" {token}" if id_ in described and described[id_].lstrip else token
        if before is not None:
            ids = before(text, add_special_tokens=False)["input_ids"]
        else:
            ids = without.encode(text, add_special_tokens=False).ids if without is not None else []
        pieces[id_] = [piece for piece in ids if piece < vocabulary_size and piece not in new]
    return pieces


def _without(tokenizer: "PreTrainedTokenizerBase", ids: set[int]) -> "RustTokenizer | None":
    """A fast tokenizer as it was before tokens were added; None where a part of it can't be copied."""
    from tokenizers import Tokenizer

    try:
        settings = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception:  # the Rust library raises bare Exception for parts that are written in Python
        return None
    settings["added_tokens"] = [token for token in settings["added_tokens"] if token["id"] not in ids]
    return Tokenizer.from_str(json.dumps(settings))


def grow(model: "TFPreTrainedModel", pieces: Mapping[int, Sequence[int]]) -> "TFPreTrainedModel":
    """The model with rows for new words; what it answers with its old words stays as it was, but for the new ones.

    Which weights have a row a word, and along which axis, shows beside a model of another vocabulary size: no other
    shape depends on that.

    Args:
        model: Any masked LM, built by `new_masked_lm` or loaded. Where it has rows enough already, its own
            are changed.
        pieces: What `pieces_of_new_words` returns. A word without pieces starts from the mean of all words.
    """
    old = model.config.vocab_size
    size = max(old, max(pieces) + 1)
    config = copy.deepcopy(model.config)
    config.vocab_size = size if size > old else old + 1
    other = new_masked_lm(config)
    if has_design(config):
        other.kept_weights = model.kept_weights
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        differing = [axis for axis, length in enumerate(ours.shape) if length != theirs.shape[axis]]
        values = ours.numpy()
        for axis in differing:
            values = _grown(values, axis, size, pieces)
        (theirs if size > old else ours).assign(values)
    return other if size > old else model


def _grown(values: np.ndarray, axis: int, size: int, pieces: Mapping[int, Sequence[int]]) -> np.ndarray:
    """A weight with `size` rows along an axis, the new words' from the mean of their pieces' rows."""
    rows = np.moveaxis(values, axis, 0)
    grown = np.empty((size, *rows.shape[1:]), rows.dtype)
    grown[: len(rows)] = rows
    grown[len(rows) :] = rows.mean(axis=0)
    for word, its_pieces in pieces.items():
        grown[word] = (rows[list(its_pieces)] if its_pieces else rows).mean(axis=0)
    return np.moveaxis(grown, 0, axis)
