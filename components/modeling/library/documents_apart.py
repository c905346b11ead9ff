"""Packed documents: attention within each only, and positions that begin anew with each.

Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination" (https://arxiv.org/abs/2107.02027).
"""

import contextvars
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.modeling.architectures.records import architecture_of
from components.modeling.document_positions import positions_within_documents

if TYPE_CHECKING:
    from transformers import TFPreTrainedModel

NEVER = -10_000.0
"""Added to the attention of tokens that don't see each other, as the library adds it for padding."""
_documents: contextvars.ContextVar[tf.Tensor | None] = contextvars.ContextVar("documents", default=None)
"""Those of the call that is under way."""


def keep_documents_apart(model: "TFPreTrainedModel") -> None:
    """Lets this model's `attention_mask` number documents, from here on.

    A token attends to those with its own number, and none to 0, padding. A mask of ones and zeros means what it always
    does. The model's classes take such a mask in two dimensions only; their main layer gets that, and the part inside
    that takes three gets the other (see `mask_inside` of the architecture's record).

    Args:
        model: One that `require_packable` lets pass.
    """
    main = getattr(model, model.base_model_prefix)
    inside = architecture_of(model.config).mask_inside
    if inside is None:
        raise ValueError(f"no layer of {model.config.model_type} takes a mask from every token to every other")
    part, argument = inside
    layers = getattr(main, part)
    layers = list(layers) if isinstance(layers, (list, tuple)) else [layers]

    def number_documents(call: Callable[..., Any]) -> Callable[..., Any]:
        def numbered(*args: Any, **kwargs: Any) -> Any:
            bound = inspect.signature(call).bind(*args, **kwargs)
            numbers = bound.arguments.get("attention_mask")
            if numbers is None:
                return call(*args, **kwargs)
            bound.arguments["attention_mask"] = tf.cast(numbers > 0, tf.int32)
            before = _documents.set(numbers)
            try:
                return call(*bound.args, **bound.kwargs)
            finally:
                _documents.reset(before)

        return numbered

    def within_documents(call: Callable[..., Any]) -> Callable[..., Any]:
        def within(*args: Any, **kwargs: Any) -> Any:
            documents = _documents.get()
            if documents is None:
                return call(*args, **kwargs)
            bound = inspect.signature(call).bind(*args, **kwargs)
            bound.arguments[argument] = mask_like(bound.arguments[argument], documents)
            return call(*bound.args, **bound.kwargs)

        return within

    main.call = number_documents(main.call)
    for layer in layers:
        layer.call = within_documents(layer.call)


def mask_like(mask: tf.Tensor, document_ids: tf.Tensor) -> tf.Tensor:
    """A mask from every token to every other in place of one for all.

    Args:
        mask: What the layer is given: 1 and 0 (batch, sequence), or 0 and `NEVER` (batch, 1, 1, sequence).
        document_ids: (batch, sequence), 0 for padding.

    Returns:
        Of the same type, (batch, sequence, sequence) or (batch, 1, sequence, sequence).
    """
    same = (document_ids[:, :, None] == document_ids[:, None, :]) & (document_ids[:, None, :] > 0)
    if mask.shape.rank == 2:
        return tf.cast(same, mask.dtype)
    return tf.where(same[:, None], tf.zeros([], mask.dtype), tf.constant(NEVER, mask.dtype))


def position_ids(model: "TFPreTrainedModel", document_ids: np.ndarray) -> np.ndarray | None:
    """Positions that begin anew with each document; None where the architecture takes none, being relative.

    Args:
        model: Says where its positions begin.
        document_ids: (blocks, block_size), 0 for padding at the end.

    Returns:
        (blocks, block_size) int32.
    """
    if "position_ids" not in inspect.signature(model.call).parameters:
        return None
    return positions_within_documents(document_ids, architecture_of(model.config).first_position(model.config))
