"""What this project asks of a masked language model, whoever wrote its class."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

Inputs = Mapping[str, tf.Tensor]
"""`input_ids` and `attention_mask`, (batch, sequence) int32 each, and what else the model takes, such as
`position_ids`."""


@dataclasses.dataclass(frozen=True)
class PyTorchWeight:
    """A weight as PyTorch's class of the same architecture has it.

    Attributes:
        variable: Of the Keras model.
        to_pytorch: Brings its array into PyTorch's layout (a dense kernel is (out, in) there).
    """

    variable: tf.Variable
    to_pytorch: Callable[[np.ndarray], np.ndarray]

    def array(self) -> np.ndarray:
        """The weight in PyTorch's layout, C-contiguous."""
        return np.ascontiguousarray(self.to_pytorch(self.variable.numpy()))


class MaskedLM(Protocol):
    """A masked language model.

    transformers' TensorFlow classes meet this by way of `LibraryMaskedLM`, our own `NativeMaskedLM` by itself.

    Attributes:
        config: A `PretrainedConfig`.
        languages: Those that it has parts for, of which a row may choose one by its number; empty for most models.
    """

    config: Any
    languages: tuple[str, ...]

    @property
    def weights(self) -> list[tf.Variable]:
        """Every variable."""

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of the inputs that it knows."""

    def hidden(self, inputs: Inputs) -> tf.Tensor:
        """What the head is given: (batch, sequence, hidden), without dropout.

        Where the model has `languages`, the inputs may have each row's as `language_ids`, (batch,) int32.
        """

    def head(self, hidden: tf.Tensor) -> tf.Tensor:
        """The logits of hidden states: (batch, positions, hidden) to (batch, positions, vocabulary)."""

    def logits(self, inputs: Inputs) -> tf.Tensor:
        """The logits at every position, without dropout: (batch, sequence, vocabulary) float32."""

    def logits_at(
        self,
        inputs: Inputs,
        positions: tf.Tensor,
        *,
        dropout_key: tf.Tensor | None = None,
        recomputed: bool = False,
        fused: bool = False,
    ) -> tf.Tensor:
        """The logits at given positions, without computing those at others.

        Args:
            inputs: `input_ids`, `attention_mask` and, where the model takes them, `position_ids`.
            positions: (batch, predictions) int32, from 0 to the sequence's length, exclusive. May repeat.
            dropout_key: As of `step_key`, of which dropout's chance is a function; None for no dropout.
            recomputed: Whether the values inside of the encoder's layers are computed again for the gradients.
            fused: Whether small kernels are compiled for what takes several operations, which is worth it where there
                are many calls, as in a training.

        Returns:
            (batch, predictions, vocabulary) float32.
        """

    def keep_documents_apart(self) -> None:
        """Lets `attention_mask` number the documents that are packed into a row, from here on.

        A token then attends to those with its own number, and none to 0, padding.
        """

    def position_ids(self, document_ids: np.ndarray) -> np.ndarray | None:
        """Positions that begin anew with each document; None where the model takes none, because they are relative.

        Args:
            document_ids: (rows, sequence) integers, 0 for padding at the end.

        Returns:
            (rows, sequence) int32.
        """

    def weight_map(self) -> dict[str, PyTorchWeight]:
        """Every weight that a prediction depends on, by PyTorch's name."""
