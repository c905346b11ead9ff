"""The embedding of tokens read once a step.

A variable that is looked up by rows is copied whole by every other read, such as the head's: TensorFlow can't tell
whether rows will be written meanwhile. Here, for the length of one call of a model, its lookup and its head take the
tensor of one read, which copies nothing.
"""

import contextlib
from collections.abc import Iterator, Mapping
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


class EmbeddingReadOnce:
    """A model each of whose calls reads its embedding of tokens once, for who calls it without knowing of that.

    An exported model is such a caller: its server would copy the embedding for every request.

    Args:
        model: Any of transformers' TensorFlow masked language models.

    Attributes:
        config: The model's.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.config = model.config

    @property
    def weights(self) -> list[tf.Variable]:
        """Every variable of the model."""
        return list(self._model.weights)

    def get_lm_head(self) -> tf.keras.layers.Layer:
        """The layer that turns hidden states into logits."""
        return self._model.get_lm_head()

    def __call__(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> Any:
        """The model's own call."""
        with embedding_read_once(self._model):
            return self._model(inputs, training=training)
