"""The embedding of tokens read once a step.

A variable that is looked up by rows is copied whole by every other read, such as the head's: TensorFlow can't tell
whether rows will be written meanwhile. Here, for the length of one call of a model, its lookup and its head take the
tensor of one read, which copies nothing.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf


@contextlib.contextmanager
def embedding_read_once(model: Any) -> Iterator[None]:
    """Makes a model use one read of its embedding of tokens.

    For the duration of one call or trace, on this model's instances only, in one thread.

    Args:
        model: Any of transformers' TensorFlow masked language models.
    """
    layer = model.get_input_embeddings()
    read = {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, tf.Variable) and value.shape.rank == 2 and value.shape[0] == model.config.vocab_size
    }
    # Under mixed precision the layers cast a variable each time they read it.
    if layer.compute_dtype != layer.variable_dtype:
        read = {}
    vars(layer).update({name: tf.convert_to_tensor(variable) for name, variable in read.items()})
    try:
        yield
    finally:
        vars(layer).update(read)
