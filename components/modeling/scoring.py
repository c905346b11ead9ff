"""What a masked language model answers at frozen masks."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from components.masking.frozen_masks import FrozenMasks
from components.modeling.library.adapter import as_masked_lm
from foundation.errors import ModelError
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    from transformers import TFPreTrainedModel

LogitsAt = Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor]
"""From `input_ids` and `attention_mask` (batch, sequence) int32 and positions (batch, predictions) int32 to logits
(batch, predictions, vocabulary) float32."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """A model's answers, in the order of the masks.

    Attributes:
        log_probabilities: (tokens,) float32, natural logarithm of the probability given to the true token.
        top_ids: (tokens, k) int32, the most probable tokens, the most probable first.
        top_log_probabilities: (tokens,) float32, natural logarithm of the probability given to the first of these.
    """

    log_probabilities: np.ndarray
    top_ids: np.ndarray
    top_log_probabilities: np.ndarray


def score_masks(
    model: "TFPreTrainedModel",
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    masks: FrozenMasks,
    *,
    batch_size: int,
    k: int,
) -> Scores:
    """Asks the model for every masked token. The head runs at the masked positions only.

    Args:
        model: Any of transformers' TensorFlow masked language models.
        input_ids: (blocks, block_size) int32, the true tokens.
        attention_mask: (blocks, block_size), 1 for tokens and 0 for padding.
        masks: At least one, `block` being the row in `input_ids`.
        batch_size: Blocks scored at once; doesn't change the answers beyond rounding.
        k: How many of the most probable tokens are kept.

    Raises:
        ModelError: If the blocks hold ids beyond the model's vocabulary.
    """
    logits_at = as_masked_lm(model).logits_at
    return score_with(logits_at, model.config.vocab_size, input_ids, attention_mask, masks, batch_size=batch_size, k=k)


def score_with(
    logits_at: LogitsAt,
    vocabulary_size: int,
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    masks: FrozenMasks,
    *,
    batch_size: int,
    k: int,
) -> Scores:
    """Asks whatever gives logits at positions.

    Every batch has one shape, so that the model is traced once: each block gets as many slots for predictions as
    the block with the most masks needs, and the last batch is filled up with the last block.

    Args:
        logits_at: Gives logits at positions.
        vocabulary_size: All ids are below it.
        input_ids: (blocks, block_size) int32, the true tokens.
        attention_mask: (blocks, block_size), 1 for tokens and 0 for padding.
        masks: At least one, `block` being the row in `input_ids`.
        batch_size: Blocks scored at once; doesn't change the answers beyond rounding.
        k: How many of the most probable tokens are kept.

    Raises:
        ModelError: If the blocks hold ids beyond the model's vocabulary.
    """
    masked = masks.apply(input_ids)  # (blocks, block_size)
    largest = int(max(masked.max(), masks.label.max()))
    if largest >= vocabulary_size:
        raise ModelError(
            "the tokenizer's ids must be within the model's vocabulary",
            received=f"token id {largest} for a model of {vocabulary_size} tokens",
            remedy="use the tokenizer that the model was trained with (--tokenizer.pretrained)",
        )
    blocks, block_size = input_ids.shape
    batch_size = min(batch_size, blocks)
    counts = np.bincount(masks.block, minlength=blocks)  # (blocks,)
    slots = int(counts.max())
    slot = np.arange(len(masks)) - (np.cumsum(counts) - counts)[masks.block]  # (tokens,)
    positions = np.zeros((blocks, slots), np.int32)
    positions[masks.block, slot] = masks.position
    labels = np.zeros((blocks, slots), np.int32)
    labels[masks.block, slot] = masks.label

    # AutoGraph stays on for those that need it, see `LibraryMaskedLM`: Longformer branches on the sequence's length.
    @tf.function(
        input_signature=[
            tf.TensorSpec((batch_size, block_size), tf.int32),
            tf.TensorSpec((batch_size, block_size), tf.int32),
            tf.TensorSpec((batch_size, slots), tf.int32),
            tf.TensorSpec((batch_size, slots), tf.int32),
        ],
    )
    def answer(ids: tf.Tensor, attention: tf.Tensor, at: tf.Tensor, true: tf.Tensor) -> tuple[tf.Tensor, ...]:
        inputs = {"input_ids": ids, "attention_mask": attention}
        logits = logits_at(inputs, at)  # (batch, slots, vocabulary)
        # log softmax at the true token alone, without writing the whole distribution to memory
        true_logits = tf.gather(logits, true, axis=2, batch_dims=2)  # (batch, slots)
        log_normalizer = tf.reduce_logsumexp(logits, axis=2)  # (batch, slots)
        top = tf.math.top_k(logits, k)  # (batch, slots, k)
        return true_logits - log_normalizer, top.indices, top.values[:, :, 0] - log_normalizer

    log_probabilities = np.empty((blocks, slots), np.float32)
    top_ids = np.empty((blocks, slots, k), np.int32)
    top_log_probabilities = np.empty((blocks, slots), np.float32)
    with TERMINAL.progress("asking the model", blocks, "blocks") as progress:
        for start in progress.watch(range(0, blocks, batch_size), lambda start: min(batch_size, blocks - start)):
            rows = np.minimum(np.arange(start, start + batch_size), blocks - 1)  # (batch_size,)
            batch = answer(
                tf.constant(masked[rows], tf.int32),
                tf.constant(attention_mask[rows], tf.int32),
                tf.constant(positions[rows]),
                tf.constant(labels[rows]),
            )
            # rows that fill up the last batch write the last block again
            log_probabilities[rows], top_ids[rows], top_log_probabilities[rows] = (part.numpy() for part in batch)
    at = masks.block, slot
    return Scores(log_probabilities[at], top_ids[at], top_log_probabilities[at])
