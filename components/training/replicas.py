"""What the copies of a model that train together tell each other at every step: their gradients.

A dense gradient is summed in a ring: of N replicas, each sends and receives 2 (N - 1) / N times its bytes. The gradient
of a table that is only looked up has as many rows as there are tokens; to gather those of all replicas, each receives
N - 1 times its own. So rows are less than the table where a step has fewer tokens, on all replicas together, than
twice the table has rows. Which tables are there?

- Word embeddings that the output layer shares, as those of all of transformers' TensorFlow classes and of most designs:
  the output layer's product gives each row of the vocabulary a gradient at every step. Dense.
- Word embeddings of a design whose output layer has weights of its own, such as EuroBERT's: 128,256 x 768, of which a
  step of 16 blocks of 128 tokens has 2,048 rows, 6 MiB instead of 376. A step of pretraining has more tokens than
  that.
- Positions and token types: a thousand rows at most, fewer than a step's tokens. Dense.
"""

from typing import Any

import tensorflow as tf

PACK_BYTES = 32 * 2**20
"""Gradients that travel together: large enough for a network, small enough to leave while others are computed."""


SMALL_TABLE_BYTES = 4 * 2**20
"""A table of which nothing is worth the additional messages: as many as three sums."""


def travels_as_rows(gradient: tf.Tensor | tf.IndexedSlices, table: tf.TensorShape) -> bool:
    """Whether a gradient is of rows of a table that are less than the table, those of all replicas together.

    Within a process, where devices are near, it never is.

    Args:
        gradient: Of a weight.
        table: The weight's shape.
    """
    strategy = tf.distribute.get_strategy()
    if not isinstance(gradient, tf.IndexedSlices) or not isinstance(
        strategy, tf.distribute.MultiWorkerMirroredStrategy
    ):
        return False
    rows = gradient.values.shape[0]
    is_small = table.num_elements() * gradient.dtype.size < SMALL_TABLE_BYTES
    return rows is not None and not is_small and rows * strategy.num_replicas_in_sync <= table[0]


def bytes_to_sum(gradient: tf.Tensor | tf.IndexedSlices) -> int:
    """What a gradient counts for: of N replicas each sends and receives 2 (N - 1) / N times as much."""
    if isinstance(gradient, tf.IndexedSlices):
        own = sum(part.shape.num_elements() * part.dtype.size for part in (gradient.values, gradient.indices))
        return own * tf.distribute.get_strategy().num_replicas_in_sync // 2
    return int(gradient.shape.num_elements() * gradient.dtype.size)


def sum_over_replicas(values: Any) -> Any:
    """A tensor, or a list of them, summed over a strategy's replicas; as it is where there is one.

    A table's rows stay rows: those of all replicas.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return values
    context, flat = tf.distribute.get_replica_context(), tf.nest.flatten(values)
    # One that fills a pack isn't copied into it and out of it.
    large = [bytes_to_sum(value) >= PACK_BYTES for value in flat]
    sums: dict[bool, list[tf.Tensor | tf.IndexedSlices]] = {True: [], False: []}
    for alone, pack_bytes in ((False, PACK_BYTES), (True, 1)):
        group = [value for value, is_large in zip(flat, large, strict=True) if is_large == alone]
        if group:
            # The strategy's own options aren't asked for the size of what travels together.
            options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=pack_bytes)
            sums[alone] = context.all_reduce(tf.distribute.ReduceOp.SUM, group, options)
    summed = {alone: iter(group) for alone, group in sums.items()}
    return tf.nest.pack_sequence_as(values, [next(summed[is_large]) for is_large in large])


class MeanLoss(tf.keras.metrics.Mean):
    """The mean loss of an epoch. Every replica is given the numbers of all, so that each knows it without the others.

    Keras' own sums its variables over the replicas wherever one is read: in every step, and in every checkpoint, which
    all processes would have to write then.
    """

    def add_weight(self, *args: Any, **kwargs: Any) -> tf.Variable:
        """See `tf.keras.metrics.Metric`."""
        return super().add_weight(*args, **{**kwargs, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA})
