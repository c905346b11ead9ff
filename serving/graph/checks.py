"""What a request must be like, checked in the graph, and so by every server, before its rows join those of others."""

from collections.abc import Sequence

import tensorflow as tf


def checked(tensor: tf.Tensor, *checks: tf.Operation) -> tf.Tensor:
    """A tensor that can't be had before checks passed."""
    with tf.control_dependencies(checks):
        return tf.identity(tensor)


def require(condition: tf.Tensor, message: Sequence[str | tf.Tensor]) -> tf.Operation:
    """Refuses a request as INVALID_ARGUMENT.

    Args:
        condition: () bool.
        message: The rule and what came: texts, and numbers () that stand between them.
    """
    parts = [part if isinstance(part, str) else tf.strings.as_string(part) for part in message]
    # Strings are on the CPU: a GPU can't hold them.
    with tf.device("/CPU:0"):
        return tf.raw_ops.Assert(condition=condition, data=[tf.strings.join(parts)])


def for_each_text(values: tf.Tensor, name: str, texts: tf.Tensor) -> tf.Tensor:
    """An input's values with one for each text.

    Args:
        values: As many as texts, or one, which is then every text's.
        name: The input's.
        texts: () int32, how many there are.

    Returns:
        (texts,).
    """
    count = tf.size(values)
    fits = require(
        (count == texts) | (count == 1),
        [f"{name} must have one value for each text, or a single one for all of them: it has ", count, " for ", texts],
    )
    return tf.broadcast_to(checked(tf.ensure_shape(values, [None]), fits), texts[None])


def token_rows(
    input_ids: tf.Tensor, attention_mask: tf.Tensor, longest: int, vocabulary_size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Token ids and attention mask of one shape that the model can take.

    Args:
        input_ids: (batch, sequence) int32.
        attention_mask: The same, or what can be broadcast to it.
        longest: The most tokens of a sequence: beyond the table of positions a GPU would silently read zeros.
        vocabulary_size: How many ids there are: beyond them a GPU would, too.

    Returns:
        Ids and mask, (batch, sequence) int32.
    """
    input_ids = tf.ensure_shape(input_ids, [None, None])
    attention_mask = tf.ensure_shape(attention_mask, [None, None])
    length = tf.shape(input_ids)[1]
    checks = [
        require(length <= longest, [f"A sequence has at most {longest} tokens, and one came with ", length]),
        require(
            tf.reduce_all((input_ids >= 0) & (input_ids < vocabulary_size)),
            [f"input_ids must be from 0 to {vocabulary_size - 1}, as the vocabulary has {vocabulary_size} tokens"],
        ),
        require(
            tf.reduce_all((attention_mask == 0) | (attention_mask == 1)),
            ["attention_mask must be 1 at tokens and 0 at padding, and it has other values"],
        ),
    ]
    attention_mask = tf.broadcast_to(attention_mask, tf.shape(input_ids))
    checks.append(attention_mask.op)
    return checked(input_ids, *checks), checked(attention_mask, *checks)
