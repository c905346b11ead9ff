"""Sequences brought to the one length that a model takes."""

from collections.abc import Mapping

import tensorflow as tf


def padded_to(length: int, inputs: Mapping[str, tf.Tensor], *, pad_token_id: int) -> dict[str, tf.Tensor]:
    """A batch with padding added at the end of each row.

    Args:
        length: Of the rows that are returned, in tokens.
        inputs: `input_ids`, (batch, sequence) int32, and what else the model takes, of that shape; at most that long.
        pad_token_id: The padding token.

    Raises:
        InvalidArgumentError, ValueError: TensorFlow's, if the rows are longer.
    """
    ids = inputs["input_ids"]
    missing = length - (ids.shape[1] or tf.shape(ids)[1])
    given = {"attention_mask": tf.ones_like(ids), **inputs}
    padding = {name: pad_token_id if name == "input_ids" else 0 for name in given}
    return {name: tf.pad(each, ((0, 0), (0, missing)), constant_values=padding[name]) for name, each in given.items()}
