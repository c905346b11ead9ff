"""Dropout whose chance is a function of the seed, the step and the place in the model, and costs little.

The library's models draw from the global generator: how they go on after a stop depends on what was drawn before,
and the draws cost more time than many of the layers around them. Here, for the length of one call of a model, each of
its dropout layers takes its chance from a counter-based generator instead: the element's index is hashed with a key
made of (seed, step, how many dropouts came before in this call). Nothing is kept for the
gradient, which draws the same bits again: hashing is cheaper than reading a mask from memory. XLA makes one pass over
memory of it; as TensorFlow's single operations it would be ten.

Where replicas share a batch, or it goes through the model in parts, the index is that in the whole batch: a row's
chance doesn't depend on who has it, and with which others.

The hash is triple32 (Wellons 2018, "Prospecting for Hash Functions", https://nullprogram.com/blog/2018/07/31/), keyed
before and after its first round: a bijection of 32 bits whose outputs change with probability one half, within 2%
of a percent, whichever input bit changes. The rate is exact within 2^-32.

Found in the 22 architectures: `tf.keras.layers.Dropout`, and DeBERTa's own two classes (`drop_prob`). Not covered:
Flaubert's LayerDrop, which the library decides in Python while it traces, so once for a whole training.
"""

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import tensorflow as tf


def step_key(
    seed: int, step: tf.Tensor, *, part: tf.Tensor | int = 0, parts: int = 1, rows: tf.Tensor | int = 1
) -> tf.Tensor:
    """The key of one forward pass on this replica.

    Args:
        seed: From 0 below 2**32.
        step: () integer, the optimizer's steps so far.
        part: () integer, which part of this replica's rows goes through the model, from 0.
        parts: How many equal ones there are, where gradients are accumulated.
        rows: () integer, the rows of each, on every replica alike.

    Returns:
        (2,) uint32; where the step has other rows than these (4,), with the number of the first one, and how many.
    """
    words = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])  # (2,)
    for _ in range(2):
        words = tf.random.fold_in(words, tf.constant(0, tf.int64))
    key = tf.random.stateless_uniform((2,), words, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    replica = tf.distribute.get_replica_context()
    replicas = 1 if replica is None else replica.num_replicas_in_sync
    if replicas * parts == 1:
        return key
    rows, before = tf.cast(rows, tf.uint32), tf.cast(part, tf.uint32)
    if replicas > 1:
        before += tf.cast(replica.replica_id_in_sync_group, tf.uint32) * tf.constant(parts, tf.uint32)
    return tf.concat([key, tf.stack([before * rows, rows])], axis=0)


def derived_key(key: tf.Tensor, number: int) -> tf.Tensor:
    """Another key for the same rows; same shape.

    Args:
        key: As of `step_key`.
        number: Equal numbers give equal keys.
    """
    words = tf.random.fold_in(tf.bitcast(key[:2], tf.int32), number)  # (2,)
    own = tf.random.stateless_uniform((2,), words, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    return tf.concat([own, key[2:]], axis=0)


@contextlib.contextmanager
def keyed_dropout(model: tf.keras.layers.Layer, key: tf.Tensor) -> Iterator[None]:
    """Makes a model's dropout layers draw from a key, whichever classes they are.

    For the duration of one call or trace, on this model's instances only, in one thread. A layer that is called
    several times, as ALBERT's are, draws anew each time. Within another such context, the inner one holds.

    Args:
        model: Any of transformers' TensorFlow models.
        key: As of `step_key`.
    """
    calls = itertools.count()
    layers = dropout_layers(model)
    outer = [vars(layer).get("call") for layer in layers]
    for layer in layers:

        def call(inputs: tf.Tensor, training: bool | None = None, rate: float = rate_of(layer)) -> tf.Tensor:
            return dropped(inputs, rate, key, next(calls)) if training and rate else inputs

        layer.call = call
    try:
        yield
    finally:
        for layer, call in zip(layers, outer, strict=True):
            if call is not None:
                layer.call = call
            else:
                # The method of the class shows again.
                del layer.call


def dropout_layers(model: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
    """All dropout layers of a model, each once."""
    modules = (model, *model.submodules)
    # Funnel keeps some in objects that are no modules, where TensorFlow doesn't see them.
    plain = [value for module in modules for value in vars(module).values() if is_plain_part(value)]
    held = [value for part in plain for value in vars(part).values()]
    return list({id(layer): layer for layer in (*modules, *held) if is_dropout(layer)}.values())


def is_plain_part(value: Any) -> bool:
    """Whether it is a part of a transformers model that is no module."""
    return type(value).__module__.startswith("transformers.models.") and not isinstance(value, tf.Module)


def is_dropout(layer: Any) -> bool:
    """Whether it is a dropout layer: Keras' or one of transformers' own."""
    return isinstance(layer, tf.keras.layers.Dropout) or (
        isinstance(layer, tf.keras.layers.Layer) and hasattr(layer, "drop_prob")
    )


def rate_of(layer: tf.keras.layers.Layer) -> float:
    """The probability that a dropout layer drops an element."""
    return float(layer.drop_prob if hasattr(layer, "drop_prob") else layer.rate)


def dropped(inputs: tf.Tensor, rate: float, key: tf.Tensor, call: int) -> tf.Tensor:
    """Each element times 1 / (1 - rate), or 0 with probability `rate`.

    Args:
        inputs: Any shape, the rows coming first, floating point; up to 2**31 elements.
        rate: From 0 to 1.
        key: As of `step_key`.
        call: Equal calls of one key drop the same elements.

    Returns:
        Same shape and dtype.
    """
    if rate >= 1:
        return tf.zeros_like(inputs)
    place = tf.constant(call, tf.uint32)
    scale = tf.constant(1 / (1 - rate), tf.float32)
    threshold = tf.constant(round(rate * 2**32), tf.uint32)

    @tf.custom_gradient
    def drop(values: tf.Tensor) -> Any:
        return _drop(values, key, place, threshold, scale), lambda upstream: _drop(
            upstream, key, place, threshold, scale
        )

    return drop(inputs)


@tf.function(jit_compile=True, autograph=False)
def _drop(values: tf.Tensor, key: tf.Tensor, call: tf.Tensor, threshold: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """One pass: an element stays where its hash is at least the threshold."""
    first, beyond = tf.constant(0, tf.uint32), tf.constant(0, tf.uint32)
    if key.shape[0] == 4:
        place = tf.cast(key[2], tf.int64) * (tf.size(values, tf.int64) // tf.cast(key[3], tf.int64))
        # Batches of more elements than 32 bits count have other chance in each such part of them.
        first, beyond = tf.cast(place, tf.uint32), tf.cast(tf.bitwise.right_shift(place, 32), tf.uint32)
    before = _mixed(key[0] ^ call, beyond)
    after = _mixed(key[1] + call, before)
    index = tf.reshape(tf.cast(tf.range(tf.size(values)), tf.uint32) + first, tf.shape(values))
    stays = _mixed(index ^ before, after) >= threshold
    scaled = tf.cast(tf.cast(values, tf.float32) * scale, values.dtype)
    return tf.where(stays, scaled, tf.zeros_like(scaled))


def _mixed(word: tf.Tensor, salt: tf.Tensor) -> tf.Tensor:
    """triple32 of uint32 words, with a salt added after its first round."""
    for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
        word = (word ^ tf.bitwise.right_shift(word, tf.constant(shift, tf.uint32))) * tf.constant(factor, tf.uint32)
        if shift == 17:
            word += salt
    return word ^ tf.bitwise.right_shift(word, tf.constant(14, tf.uint32))
