"""What the copies of a model that train together tell each other at every step."""

from typing import Any

import tensorflow as tf

PACK_BYTES = 32 * 2**20
"""Gradients that travel together: large enough for a network, small enough to leave while others are computed."""


def sum_over_replicas(values: Any) -> Any:
    """A tensor, or a list of them, summed over a strategy's replicas; as it is where there is one."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return values
    # The strategy's own options aren't asked for the size of what travels together.
    options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=PACK_BYTES)
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values, options)


class MeanLoss(tf.keras.metrics.Mean):
    """The mean loss of an epoch. Every replica is given the numbers of all, so that each knows it without the others.

    Keras' own sums its variables over the replicas wherever one is read: in every step, and in every checkpoint, which
    all processes would have to write then.
    """

    def add_weight(self, *args: Any, **kwargs: Any) -> tf.Variable:
        """See `tf.keras.metrics.Metric`."""
        return super().add_weight(*args, **{**kwargs, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA})
