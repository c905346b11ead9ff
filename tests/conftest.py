"""Shared parts: nothing reaches the network but loopback, TensorFlow finds the right Keras, and GPUs stay idle."""

import os

# What is to be equal bit for bit is so on a CPU alone, and several processes test at once.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import pytest
from hypothesis import settings

from foundation.keras_choice import choose_keras

choose_keras()

# The same cases in every run, so that what passes passes again; `--hypothesis-profile=default` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

LONG_FILES = (
    "test_pipeline.py",
    "test_validate.py",
    "test_architectures.py",
    "test_precisions.py",
    "test_installed.py",
    "test_notebook.py",
    "test_signals.py",
    "test_what_comes_next.py",
    "test_site.py",
    "test_kills.py",
    "test_disk_everywhere.py",
    "test_bit_flips.py",
    "test_train_resume.py",
    "test_train_stopping.py",
    "test_continuing.py",
    "test_train.py",
    "test_packed_pipeline.py",
    "test_push_overtaken.py",
    "test_client.py",
    "test_signatures.py",
    "test_unigram.py",
    "test_export.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take minutes first: begun last, one of them would leave the other process idle."""
    items.sort(key=lambda item: item.path.name not in LONG_FILES)
