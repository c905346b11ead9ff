"""A small random model of every architecture, as its record describes it."""

import os
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from transformers import TFPreTrainedModel

from components.modeling.architectures.architecture import TINY
from components.modeling.architectures.records import ARCHITECTURES
from components.modeling.config_classes import config_class
from components.modeling.new_model import new_masked_lm

BATCH, LENGTH, VOCABULARY = 2, 16, TINY["vocab_size"]
MODEL_TYPES = sorted(ARCHITECTURES)
LIBRARY_MODEL_TYPES = [name for name in MODEL_TYPES if ARCHITECTURES[name].design is None]
"""Those of transformers' TensorFlow classes; the others are our own encoder's."""
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    name: (record.model_type, dict(values))
    for record in ARCHITECTURES.values()
    for name, values in record.variants.items()
}
"""Models with weights of other kinds, by a name: architecture, and values over its tiny ones."""
MODELS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in MODEL_TYPES} | VARIANTS
"""Every one there is to test with."""

COPIES = ("camembert", "xlm-roberta")
"""Whose class in the library is a copy of RoBERTa's."""
OUR_MECHANISMS = (
    *("modernbert", "modernbert untied", "eurobert with biases", "gte", "nezha far", "roc_bert of shapes"),
    *("luke", "xmod", "xmod with norms first", "nomic_bert", "data2vec-text", "bart", "bart of other sizes"),
    *("mbart", "mbart of other sizes", "perceiver", "squeezebert", "fnet", "esmc"),
    *("nystromformer", "nystromformer by landmarks", "yoso", "yoso with a convolution"),
)
"""Of our own encoder, whose families share their code: those that have all of its parts among them."""
EVERY_MODEL = bool(os.environ.get("EVERY_MODEL"))
BATTERY = {
    name
    for name, (model_type, _) in MODELS.items()
    if EVERY_MODEL or (name in OUR_MECHANISMS if ARCHITECTURES[model_type].design else model_type not in COPIES)
}
"""What long tests are put to: those that share no code with another, or with EVERY_MODEL=1 every one."""
SHORT_BATTERY = sorted(BATTERY if EVERY_MODEL else BATTERY & set(MODEL_TYPES))
"""The same for longer ones: a model of each architecture."""
SHORTEST_BATTERY = SHORT_BATTERY if EVERY_MODEL else ["bart", "bert", "deberta-v2", "funnel", "modernbert", "perceiver"]
"""The same for the longest ones: what is computed in a way of its own, of the library's and of ours."""


def all_slow_but(
    quick: Iterable[str], names: Iterable[str] = MODEL_TYPES, battery: Collection[str] = BATTERY
) -> list[Any]:
    """A test's parameters: names of models, the quick ones and of the others those of a battery, marked slow."""
    quick = set(quick)
    marks = {name: () if name in quick else pytest.mark.slow for name in names}
    return [pytest.param(name, marks=marks[name]) for name in names if name in quick or name in battery]


def random_model(name: str, **values: Any) -> TFPreTrainedModel:
    """A two-layer model; trained weights are random, so that a bias left out or applied twice shows.

    Args:
        name: One of `MODELS`.
        values: Configuration values over its own.
    """
    model_type, its_values = MODELS[name]
    tf.keras.utils.set_random_seed(7)
    config = config_class(model_type)(**{**ARCHITECTURES[model_type].tiny, **its_values, **values})
    model = new_masked_lm(config)
    for variable in model.trainable_variables:
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.05))
    return model


def token_batch() -> dict[str, np.ndarray]:
    """`input_ids` and `attention_mask` (BATCH, LENGTH) int32; the second row ends in four places of padding."""
    ids = np.random.default_rng(0).integers(5, VOCABULARY - 1, (BATCH, LENGTH)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[1, -4:] = 0
    return {"input_ids": ids, "attention_mask": mask}
