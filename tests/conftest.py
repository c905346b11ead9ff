"""Shared parts: nothing reaches the network but loopback, TensorFlow finds the right Keras, and GPUs stay idle."""

import os

# What is to be equal bit for bit is so on a CPU alone, and several processes test at once.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from hypothesis import settings

from foundation.keras_choice import choose_keras

choose_keras()

# The same cases in every run, so that what passes passes again; `--hypothesis-profile=default` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
