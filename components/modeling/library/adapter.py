"""transformers' TensorFlow classes as this project asks for a masked language model: the one place that knows them all.

Every change to an instance of theirs lasts for one call, so the model stays an ordinary one, to save and call as ever:
all but one, `keep_documents_apart`, after which a mask of ones and zeros still means what it always does.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.modeling.architectures.records import architecture_of
from components.modeling.library.documents_apart import keep_documents_apart, position_ids
from components.modeling.library.dropout import keyed_dropout
from components.modeling.library.fused_gelu import fused_gelu
from components.modeling.library.gradient_checkpointing import recomputed_layers
from components.modeling.library.head import embedding_read_once, masked_logits, without_head
from components.modeling.masked_lm import Inputs, MaskedLM, PyTorchWeight

if TYPE_CHECKING:
    from transformers import TFPreTrainedModel


def as_masked_lm(model: "MaskedLM | TFPreTrainedModel") -> MaskedLM:
    """A model as a `MaskedLM`: by way of `LibraryMaskedLM` if its class is transformers', else as it is."""
    from transformers import TFPreTrainedModel

    return LibraryMaskedLM(model) if isinstance(model, TFPreTrainedModel) else model


def traced_plainly(method: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Makes a method of `LibraryMaskedLM` spare AutoGraph, but where the architecture's code branches on a tensor.

    AutoGraph rewrites the code of every layer, which takes several times as long as tracing a small model does.
    """
    plain = tf.autograph.experimental.do_not_convert(method)

    @functools.wraps(method)
    def call(self: "LibraryMaskedLM", *args: Any, **kwargs: Any) -> tf.Tensor:
        branches = architecture_of(self.config).branches_on_tensors(self.config)
        return (method if branches else plain)(self, *args, **kwargs)

    del call.__wrapped__  # AutoGraph would take the method's source for that of `call`
    return call


class LibraryMaskedLM:
    """One of transformers' TensorFlow masked language models, as a `MaskedLM`.

    Example:
        model = LibraryMaskedLM(load_masked_lm(directory))
        logits = model.logits_at(inputs, positions)  # (batch, predictions, vocabulary)

    Args:
        model: Any of them, built.

    Attributes:
        config: The model's.
        languages: None: the library's classes have no parts for single languages that a row could choose.
    """

    languages: tuple[str, ...] = ()

    def __init__(self, model: "TFPreTrainedModel") -> None:
        self._model = model
        self.config = model.config

    @property
    def weights(self) -> list[tf.Variable]:
        """Every variable."""
        return list(self._model.weights)

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of the inputs that it knows."""
        return tuple(inspect.signature(self._model.call).parameters)

    @traced_plainly
    def hidden(self, inputs: Inputs) -> tf.Tensor:
        """What the head is given: see `MaskedLM.hidden`."""
        with embedding_read_once(self._model), without_head(self._model.get_lm_head()):
            return self._model(dict(inputs), training=False).logits

    @traced_plainly
    def head(self, hidden: tf.Tensor) -> tf.Tensor:
        """The logits of hidden states: see `MaskedLM.head`."""
        with embedding_read_once(self._model):
            return self._model.get_lm_head()(hidden)

    @traced_plainly
    def logits(self, inputs: Inputs) -> tf.Tensor:
        """The logits at every position: see `MaskedLM.logits`."""
        with embedding_read_once(self._model):
            return tf.cast(self._model(dict(inputs), training=False).logits, tf.float32)

    @traced_plainly
    def logits_at(
        self,
        inputs: Inputs,
        positions: tf.Tensor,
        *,
        dropout_key: tf.Tensor | None = None,
        recomputed: bool = False,
        fused: bool = False,
    ) -> tf.Tensor:
        """The logits at given positions: see `MaskedLM.logits_at`."""
        with contextlib.ExitStack() as changes:
            if fused:
                changes.enter_context(fused_gelu(self._model))
            if dropout_key is not None:
                changes.enter_context(keyed_dropout(self._model, dropout_key))
                if recomputed:
                    changes.enter_context(recomputed_layers(self._model, dropout_key))
            return masked_logits(self._model, inputs, positions, training=dropout_key is not None)

    def keep_documents_apart(self) -> None:
        """Lets `attention_mask` number documents from here on."""
        keep_documents_apart(self._model)

    def position_ids(self, document_ids: np.ndarray) -> np.ndarray | None:
        """Positions that begin anew with each document: see `MaskedLM.position_ids`."""
        return position_ids(self._model, document_ids)

    def weight_map(self) -> dict[str, PyTorchWeight]:
        """Every weight that a prediction depends on, by PyTorch's name.

        Names and layouts follow transformers' own rules, by which it loads PyTorch's weights into TensorFlow, the
        other way round, and the architecture's record, where those don't suffice.
        """
        from transformers.modeling_tf_pytorch_utils import convert_tf_weight_name_to_pt_weight_name

        record = architecture_of(self.config)
        output_matrix = record.own_output_matrix(self._model)
        weights = {}
        for variable in self._model.weights:
            name, transpose = convert_tf_weight_name_to_pt_weight_name(variable.name, tf_weight_shape=variable.shape)
            if variable is output_matrix:
                name = f"{record.output_layer}.weight"
            if not name.startswith(record.unused_weights):
                layouts = [layout for ending, layout in record.pytorch_layouts.items() if name.endswith(ending)]
                weights[name] = PyTorchWeight(variable, _to_pytorch(transpose, layouts))
        return weights


def _to_pytorch(transpose: object, layouts: list[Callable[[np.ndarray], np.ndarray]]) -> Callable[..., np.ndarray]:
    """What brings an array into PyTorch's layout: the library's transpose, then what a record adds."""
    from transformers.modeling_tf_pytorch_utils import apply_transpose

    def convert(array: np.ndarray) -> np.ndarray:
        array = apply_transpose(transpose, array, pt_to_tf=False)
        for layout in layouts:
            array = layout(array)
        return array

    return convert
