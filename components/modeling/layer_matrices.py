"""Which weights of a model are the matrices of its layers: no embedding, bias or norm, and no part of the head."""

import re
from typing import TYPE_CHECKING

from components.modeling.architectures.records import architecture_of

if TYPE_CHECKING:
    import tensorflow as tf
    from transformers import TFPreTrainedModel


def layer_matrices(model: "TFPreTrainedModel") -> "list[tf.Variable]":
    """The matrices by which a model's numbered layers multiply hidden states, in the model's order.

    A matrix of several factors of a product is one: the queries, keys and values of ModernBERT, for example.
    Embeddings by distance, which some architectures have in their layers, are none.

    Args:
        model: Any of transformers' TensorFlow masked LMs, built.
    """
    from components.modeling.library.adapter import as_masked_lm

    layer_name, _ = architecture_of(model.config).names_of_layers(model.config)
    found = {
        weight.variable.ref()
        for name, weight in as_masked_lm(model).weight_map().items()
        if re.search(layer_name, name) and not re.search("embedding|bias", name)
    }
    return [variable for variable in model.trainable_variables if variable.shape.rank == 2 and variable.ref() in found]
