"""The choice of Keras, and of how quietly TensorFlow starts: made by entry points, never on import."""

import os
import sys

from foundation import quiet_tensorflow
from foundation.errors import ConfigError


def choose_keras() -> None:
    """Chooses Keras 2 (tf-keras), the only Keras that transformers' TensorFlow classes accept.

    Entry points call it before anything uses Keras: `pipeline.py`, `python -m serving`, the functions of
    `masked_lm_pipeline`, and programs that use the steps by themselves. It makes the import of TensorFlow quiet and
    sets environment variables of this process:

    - `TF_USE_LEGACY_KERAS`, so that `tf.keras` is tf-keras.
    - `TF_CPP_MIN_LOG_LEVEL`, unless it is set already. Errors that matter are raised as exceptions; the rest is what a
      machine without a GPU would print at every start.
    - `TF_FORCE_GPU_ALLOW_GROWTH`, unless it is set already, so that a GPU's memory is taken only as it is needed: other
      programs, such as the embedded server or a desktop, may need some of it.
    - `TOKENIZERS_PARALLELISM`, unless it is set already, so that tokenizing stays parallel after a fork.

    Raises:
        ConfigError: If this process uses `tf.keras` as Keras 3 already, which can't be undone.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    quiet_tensorflow.install()
    tensorflow = sys.modules.get(quiet_tensorflow.NAME)
    # It looks at the environment when its Keras is first used, not when it is imported.
    if tensorflow is not None and not tensorflow.keras.Model.__module__.startswith("tf_keras"):
        raise ConfigError(
            "tf.keras must be Keras 2 (tf-keras), which transformers' TensorFlow classes need",
            received="a process in which tf.keras was used as Keras 3 before",
            remedy="restart it (in a notebook, the kernel) and set the environment variable TF_USE_LEGACY_KERAS=1, or "
            "call this before tf.keras is used",
        )
