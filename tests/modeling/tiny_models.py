"""A small random model of every architecture, as its record describes it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from transformers import CONFIG_MAPPING, TFPreTrainedModel

from components.modeling.architectures.architecture import TINY
from components.modeling.architectures.records import ARCHITECTURES
from components.modeling.configuration import masked_lm_class

BATCH, LENGTH, VOCABULARY = 2, 16, TINY["vocab_size"]
MODEL_TYPES = sorted(ARCHITECTURES)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    name: (record.model_type, dict(values))
    for record in ARCHITECTURES.values()
    for name, values in record.variants.items()
}
"""Models with weights of other kinds, by a name: architecture, and values over its tiny ones."""
MODELS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in MODEL_TYPES} | VARIANTS
"""Every one there is to test with."""


def all_slow_but(quick: Iterable[str], names: Iterable[str] = MODEL_TYPES) -> list[Any]:
    """A test's parameters: names of models, those that aren't quick marked slow."""
    quick = set(quick)
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


def random_model(name: str, **values: Any) -> TFPreTrainedModel:
    """A two-layer model; trained weights are random, so that a bias left out or applied twice shows.

    Args:
        name: One of `MODELS`.
        values: Configuration values over its own.
    """
    model_type, its_values = MODELS[name]
    tf.keras.utils.set_random_seed(7)
    config = CONFIG_MAPPING[model_type](**{**ARCHITECTURES[model_type].tiny, **its_values, **values})
    model = masked_lm_class(model_type)(config)
    model.build_in_name_scope()
    for variable in model.trainable_variables:
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.05))
    return model


def token_batch() -> dict[str, np.ndarray]:
    """`input_ids` and `attention_mask` (BATCH, LENGTH) int32; the second row ends in four places of padding."""
    ids = np.random.default_rng(0).integers(5, VOCABULARY - 1, (BATCH, LENGTH)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[1, -4:] = 0
    return {"input_ids": ids, "attention_mask": mask}
