"""The model in eight-bit integers: converted, answering as TensorFlow Serving asks it, measured, and refused if spoiled."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from components.exporting import quantized
from components.exporting.accuracy import AccuracyTest, first_questions
from components.modeling.checkpoint import build_masked_lm, save_masked_lm
from tests.loopback_hub.small_artifacts import bpe


@pytest.fixture(scope="module")
def tokenizer():
    return bpe()
