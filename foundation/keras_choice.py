"""The choice of Keras, and of how quietly TensorFlow starts: made by entry points, never on import."""

import os

from foundation import quiet_tensorflow


def choose_keras() -> None:
    """Chooses Keras 2 (tf-keras), the only Keras that transformers' TensorFlow classes accept.

    Entry points call it before anything imports TensorFlow: `pipeline.py`, `python -m serving`, and programs that use
    the steps by themselves. It makes the import of TensorFlow quiet and sets environment variables of this process:

    - `TF_USE_LEGACY_KERAS`, so that `tf.keras` is tf-keras.
    - `TF_CPP_MIN_LOG_LEVEL`, unless it is set already. Errors that matter are raised as exceptions; the rest is what a
      machine without a GPU would print at every start.
    - `TF_FORCE_GPU_ALLOW_GROWTH`, unless it is set already, so that a GPU's memory is taken only as it is needed: other
      programs, such as the embedded server or a desktop, may need some of it.
    - `TOKENIZERS_PARALLELISM`, unless it is set already, so that tokenizing stays parallel after a fork.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    quiet_tensorflow.install()
