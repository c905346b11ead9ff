"""The pipeline's steps, one a file, and the contract that they share.

Importing this package chooses Keras 2 (tf-keras), the only Keras that transformers' TensorFlow classes
accept. It is the one place that does so: `serving` and `runners` import this package before TensorFlow.
"""

import os

from components import quiet_tensorflow

os.environ["TF_USE_LEGACY_KERAS"] = "1"
# Errors that matter come as exceptions; the rest is what a machine without a GPU would print at every start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As much of a GPU's memory as is needed: others, the embedded server or a desktop, may want some of it.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
quiet_tensorflow.install()
