"""What a model answers to a few fixed sentences, for people to read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from components.contract.reports import Answer
from components.modeling.library.adapter import as_masked_lm

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, TFPreTrainedModel

PLACEHOLDER = "<mask>"


def sample_predictions(
    model: "TFPreTrainedModel", tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], *, k: int, longest: int
) -> list[tuple[Answer, ...]]:
    """The most probable tokens at the first mask of each text.

    Args:
        model: Any of transformers' TensorFlow masked language models.
        tokenizer: Its tokenizer.
        texts: Each with a `<mask>`, whatever the tokenizer's own mask token is.
        k: How many answers.
        longest: Tokens after which a text is cut.

    Returns:
        By text, the answers, best first; none where the mask was cut off.
    """
    answers = []
    for text in texts:
        own = text.replace(PLACEHOLDER, tokenizer.mask_token)
        ids = tokenizer(own, truncation=True, max_length=longest)["input_ids"]
        best: list[int] = []
        if tokenizer.mask_token_id in ids:
            inputs = {"input_ids": tf.constant([ids]), "attention_mask": tf.ones([1, len(ids)], tf.int32)}
            position = tf.constant([[ids.index(tokenizer.mask_token_id)]])
            scores = tf.nn.softmax(as_masked_lm(model).logits_at(inputs, position))[0, 0].numpy()  # (vocabulary,)
            best = np.argsort(-scores, kind="stable")[:k].tolist()
        answers.append(tuple(Answer(tokenizer.decode([token]), float(scores[token])) for token in best))
    return answers
