"""Less memory for more work: an encoder layer's inner values are computed again for its gradient, not kept.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost" (https://arxiv.org/abs/1604.06174). None of the
library's TensorFlow masked LMs has it. Here, for the length of one call of a model, each of its encoder layers is
called by way of `tf.recompute_grad`: one mechanism for every architecture, whose gradients are those of the plain
call, dropout's chance included, because that is a function of a key.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from components.modeling.library.dropout import derived_key, keyed_dropout
from components.modeling.library.fused_gelu import fused_gelu

Call = Callable[..., Any]


def encoder_layers(model: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
    """A model's encoder layers: those that it keeps in lists and that have parts, but for those within another.

    XLM and Flaubert have a list of attentions and one of feed-forward networks instead.
    """
    # Keras keeps lists of its own under names with an underscore.
    attributes = [item for module in model.submodules for item in vars(module).items() if item[0][0] != "_"]
    lists = [value for _, value in attributes if isinstance(value, list)]
    layers = {id(layer): layer for layer in tf.nest.flatten(lists) if is_composite(layer)}
    inner = {id(module) for layer in layers.values() for module in layer.submodules}
    return [layer for identity, layer in layers.items() if identity not in inner]


def is_composite(value: Any) -> bool:
    """Whether it is a layer with layers in it."""
    return isinstance(value, tf.keras.layers.Layer) and len(value.submodules) > 0


@contextlib.contextmanager
def recomputed_layers(model: tf.keras.layers.Layer, key: tf.Tensor) -> Iterator[None]:
    """Makes a model's encoder layers keep their inputs only, and compute the rest again for the gradient.

    For the duration of one call or trace, on this model's instances only, in one thread.

    Args:
        model: Any of transformers' TensorFlow models.
        key: Of the dropout in these layers, as of `step_key`.
    """
    layers = encoder_layers(model)
    calls = 0

    def recomputed(layer: tf.keras.layers.Layer, call: Call | None, /, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        # A layer that is called several times, as ALBERT's is, draws anew each time.
        return call_recomputed(layer, call, derived_key(key, calls), args, kwargs)

    with contextlib.ExitStack() as contexts:
        for layer in layers:
            call = functools.partial(recomputed, layer, vars(layer).get("call"))
            contexts.enter_context(called_by(layer, call))
        yield


def call_recomputed(layer: tf.keras.layers.Layer, call: Call | None, key: tf.Tensor, args: Any, kwargs: Any) -> Any:
    """Calls a layer by way of `tf.recompute_grad`, which takes and gives nothing but tensors.

    Args:
        layer: Whose inner values are computed twice.
        call: Its own `call`, where it isn't its class's.
        key: Of its dropout.
        args: What it is given.
        kwargs: The same, by name.
    """
    given = tf.nest.flatten((args, kwargs))
    is_tensor = [tf.is_tensor(value) and value.dtype.is_floating for value in given]
    packed: list[Any] = []
    # The second computation comes when the model's call is over: what held during that, such as which documents its
    # tokens belong to, is to hold again.
    context = contextvars.copy_context()

    @tf.recompute_grad
    def run(*tensors: tf.Tensor) -> list[tf.Tensor]:
        following = iter(tensors)
        values = [next(following) if floating else value for value, floating in zip(given, is_tensor, strict=True)]
        args_again, kwargs_again = tf.nest.pack_sequence_as((args, kwargs), values)
        with called_by(layer, call), fused_gelu(layer), keyed_dropout(layer, key):
            # The layer, not its `call` alone: under mixed precision that is what casts the weights.
            outputs = context.run(layer, *args_again, **kwargs_again)
        flat = tf.nest.flatten(outputs)
        packed[:] = [outputs, [tf.is_tensor(value) for value in flat]]
        return [value for value in flat if tf.is_tensor(value)]

    results = iter(run(*(value for value, floating in zip(given, is_tensor, strict=True) if floating)))
    outputs, are_tensors = packed
    flat = tf.nest.flatten(outputs)
    return tf.nest.pack_sequence_as(
        outputs, [next(results) if tensor else value for value, tensor in zip(flat, are_tensors, strict=True)]
    )


@contextlib.contextmanager
def called_by(layer: tf.keras.layers.Layer, call: Call | None) -> Iterator[None]:
    """Gives a layer another `call`, or None for that of its class, for as long as the context lasts."""
    before = vars(layer).get("call")
    set_call(layer, call)
    try:
        yield
    finally:
        set_call(layer, before)


def set_call(layer: tf.keras.layers.Layer, call: Call | None) -> None:
    """Gives a layer a `call` of its own; None for that of its class."""
    if call is not None:
        layer.call = call
    elif "call" in vars(layer):
        del layer.call
